package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// Backup writes the realms' state to w.
func (c *Client) Backup(ctx context.Context, w io.Writer) (info api.BackupInfo, err error) {
	return info, c.stream(ctx, api.MBackup, nil, nil, func(a wire.Call) error {
		if len(a.Data) > 0 {
			_, err := w.Write(a.Data)
			return err
		}
		return json.Unmarshal(a.Body, &info)
	})
}

// Restore brings a backup back; with replace it removes all realms first.
func (c *Client) Restore(ctx context.Context, r io.Reader, replace bool) (info api.BackupInfo, err error) {
	var part api.RestorePart
	buf := make([]byte, uploadPiece)
	for {
		n, rerr := io.ReadFull(r, buf)
		if n > 0 || part.ID == "" {
			err := c.stream(ctx, api.MRestorePart, part, buf[:n], func(a wire.Call) error { return json.Unmarshal(a.Body, &part) })
			if err != nil {
				return info, err
			}
		}
		if errors.Is(rerr, io.EOF) || errors.Is(rerr, io.ErrUnexpectedEOF) {
			break
		}
		if rerr != nil {
			return info, rerr
		}
	}
	return info, c.Call(ctx, api.MRestoreEnd, api.RestoreRequest{ID: part.ID, Replace: replace}, &info)
}
