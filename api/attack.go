package api

// What became of a row of `sigmactl doctor --attack`.
const (
	AttackHeld     = "held"
	AttackThrough  = "THROUGH" // something had another answer than it must
	AttackNotTried = "not tried"
)

// AttackRow is one row of hostile probes, tried on a running cluster.
type AttackRow struct {
	Row       string   `json:"row"`
	Title     string   `json:"title"`
	State     string   `json:"state"`
	Attempts  int      `json:"attempts,omitempty"`
	Findings  []string `json:"findings,omitempty"`  // what should not be
	Elsewhere string   `json:"elsewhere,omitempty"` // where the row is tried instead
}

// AttackReport is the table.
type AttackReport struct {
	Cluster string      `json:"cluster"`
	Cgroup  string      `json:"cgroup"`
	Layers  []string    `json:"layers"`
	Rows    []AttackRow `json:"rows"`
	Held    int         `json:"held"`
	Through int         `json:"through"`
}
