// Linearizability reads what concurrent clients of an arbiter saw, and says whether it could have happened one operation after
// another, each at one moment between its call and its return. The search is porcupine's; the model of an arbiter is ours.
//
// It exits with 0 when that is so, with 1 when it is not, and with 2 when it could not find out.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	exitOK        = 0
	exitIllegal   = 1
	exitUndecided = 2
)

// The most faults that are printed; the first one says most.
const faultsPrinted = 10

func main() {
	path := flag.String("history", "", "the history, as lines of JSON")
	picture := flag.String("picture", "", "where to write the picture of a group that is not linearizable")
	timeout := flag.Duration("timeout", 30*time.Second, "how long to search in each group of customers")
	flag.Parse()
	file, err := os.Open(*path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUndecided)
	}
	code := run(file, *picture, *timeout, os.Stdout)
	os.Exit(code)
}

// run checks a history and says what it found.
func run(input io.Reader, picture string, timeout time.Duration, output io.Writer) int {
	history, err := readHistory(input)
	if err == nil && len(history.operations) == 0 {
		err = fmt.Errorf("there is no operation in it")
	}
	if err != nil {
		fmt.Fprintf(output, "the history cannot be read: %v\n", err)
		return exitUndecided
	}
	history.checkOrder()
	history.checkCommits()
	code := exitOK
	if len(history.faults) > 0 {
		code = exitIllegal
	}
	for index, fault := range history.faults {
		if index == faultsPrinted {
			fmt.Fprintf(output, "and %d more\n", len(history.faults)-index)
			break
		}
		fmt.Fprintln(output, fault)
	}
	for _, group := range history.groups() {
		code = worse(code, group.check(picture, timeout, output))
	}
	fmt.Fprintf(output, "order of all: %d operations, %d commits, %d writes without effect, %d faults\n",
		len(history.operations), len(history.commits), history.withoutEffect, len(history.faults))
	return code
}

func worse(one, other int) int {
	if one == exitIllegal || other == exitOK {
		return one
	}
	return other
}

// check lets porcupine search for an order of a group's operations.
func (group *group) check(picture string, timeout time.Duration, output io.Writer) int {
	model := model()
	result, info := porcupine.CheckOperationsVerbose(model, group.timed(), timeout)
	said := map[porcupine.CheckResult]string{
		porcupine.Ok: "linearizable", porcupine.Illegal: "NOT LINEARIZABLE", porcupine.Unknown: "not decided in time",
	}[result]
	open := 0
	for _, operation := range group.operations {
		if operation.open {
			open++
		}
	}
	fmt.Fprintf(output, "%s: %d operations, %d of them open: %s\n", group.name, len(group.operations), open, said)
	switch result {
	case porcupine.Ok:
		return exitOK
	case porcupine.Illegal:
		if picture != "" {
			if err := porcupine.VisualizePath(model, info, picture); err != nil {
				fmt.Fprintf(output, "the picture could not be written: %v\n", err)
			}
		}
		return exitIllegal
	default:
		return exitUndecided
	}
}
