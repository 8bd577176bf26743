package mr

// MaxRecord is the longest line that Map is given in one piece.
const MaxRecord = 1 << 20

// maxPair bounds a key and its value together.
const maxPair = 4 << 20

// Record is what Map is called with.
type Record struct {
	// Text is a line without its end, or a piece of a long one. It is the
	// caller's, and valid until Map returns.
	Text   []byte
	File   string // the path of its file
	Offset int64  // of Text in there
	Part   bool   // the line is longer than Text
}

// Emit takes a pair; both slices are copied. Key and value have at most 4 MiB
// together.
type Emit func(key, value []byte)

// Job is the functions of one job. They must not keep state from call to call that
// changes what they do: each runs in many procs, and any number of times.
type Job struct {
	Map func(rec Record, emit Emit) error

	// Combine, when it is set, folds a value into what came before under the same
	// key, and returns that; it may change acc. It is called any number of times,
	// also never, in any grouping, on the mapper's side.
	Combine func(acc, value []byte) []byte

	// Reduce is called once for each key, in the order of keys. What it emits is a
	// line of the output: key, tab, value; the key alone where value is nil.
	Reduce func(key []byte, values *Values, emit Emit) error
}

// App is a job by name, made from the arguments that the job was started with.
type App struct {
	Name string
	Help string // one line
	New  func(args []string) (Job, error)
}
