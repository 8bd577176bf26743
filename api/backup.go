package api

import "time"

// Methods of backup and restore; operator.
const (
	MBackup      = "cluster.backup"  // → many Data, then a BackupInfo
	MRestorePart = "cluster.restore" // RestorePart + Data → RestorePart
	MRestoreEnd  = "cluster.restore.end"
)

// BackupInfo says what a backup is of.
type BackupInfo struct {
	Cluster  string    `json:"cluster"`
	Time     time.Time `json:"time"`
	Revision int64     `json:"revision"` // of etcd
	Sigmad   string    `json:"sigmad"`   // version
	Keys     int64     `json:"keys,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"`
}

// RestorePart names a restore under way; "" begins one.
type RestorePart struct {
	ID string `json:"id,omitempty"`
}

// RestoreRequest brings back what was sent → BackupInfo.
type RestoreRequest struct {
	ID      string `json:"id"`
	Replace bool   `json:"replace,omitempty"` // remove all realms first
}
