package ctl

import (
	"fmt"
	"io"
	"time"

	"sigmaos/sigma/img"
)

// imgBars show a job of images as one bar, once these are listed.
func imgBars(s *img.Summary) []string {
	st := &s.State
	if st.Total == 0 {
		return nil
	}
	line := bar("images", st.Done+st.Failed, st.Running, st.Total, st.Attempts)
	if st.Failed > 0 {
		line += fmt.Sprintf(", %d failed", st.Failed)
	}
	return []string{line}
}

// imgReport says what a job did: the images that failed, and where the time went.
func imgReport(w io.Writer, s *img.Summary) error {
	st := &s.State
	fmt.Fprintf(w, ", %d of %d images scaled into %s → %s\n", st.Done, st.Total, img.Size(s.Spec.Width, s.Spec.Height), s.Spec.Out)
	if st.Error != "" {
		fmt.Fprintf(w, "error: %s\n", st.Error)
	}
	failed := st.Some
	if len(s.Images) > 0 {
		failed = nil
		for _, r := range s.Images {
			if r.Error != "" {
				failed = append(failed, r)
			}
		}
	}
	for _, r := range failed {
		fmt.Fprintf(w, "failed: %s: %s\n", r.Name, r.Error)
	}
	if more := st.Failed - len(failed); more > 0 {
		fmt.Fprintf(w, "failed: %d more\n", more)
	}
	if n := time.Duration(st.Done); n > 0 {
		x := &st.Sums
		fmt.Fprintf(w, "%s → %s; an image took %s (p50), %s (p90), %s at most; on average read %s, scale %s, write %s, CPU %s; a worker had %s at most\n", sizeText(x.InBytes), sizeText(x.OutBytes),
			ms(x.WallP50), ms(x.WallP90), ms(x.WallMax), ms(x.Read/n), ms(x.Scale/n), ms(x.Write/n), ms(x.CPU/n), sizeText(x.RSS))
		fmt.Fprintf(w, "from Spawn to the first line of a worker: p50 %s\n", ms(x.StartP50))
	}
	if st.Failures > 0 || st.Returned > 0 || st.Terms > 1 {
		fmt.Fprintf(w, "%d attempts, %d of them failed, %d lost; %d coordinators led\n", st.Attempts, st.Failures, st.Returned, st.Terms)
	}
	return nil
}
