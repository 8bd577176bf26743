package api

// Check is one line of `sigmactl doctor`.
type Check struct {
	Name  string `json:"name"`
	Level string `json:"level"` // OK, WARN or FAIL
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // what to do
}
