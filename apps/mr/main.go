// Mr has three jobs over text: wc counts words, grep finds lines, index says which
// files a word is in. sigmactl mr run starts them; by itself the program runs them
// over files of the machine.
package main

import "sigmaos/sigma/mr"

func main() {
	mr.Main(
		mr.App{Name: "wc", Help: "count words", New: newWC},
		mr.App{Name: "grep", Help: "find lines: a regular expression", New: newGrep},
		mr.App{Name: "index", Help: "list the files that each word is in", New: newIndex},
	)
}
