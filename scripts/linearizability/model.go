package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A state is what a group of customers owns.
type state struct {
	// The newest revision that was seen so far.
	revision uint64
	// Since which revision each game is owned. Never changed in place.
	since map[pair]uint64
}

func (before state) set(revision uint64, made []change) state {
	after := state{revision: revision, since: make(map[pair]uint64, len(before.since)+len(made))}
	for owned, since := range before.since {
		after.since[owned] = since
	}
	for _, change := range made {
		if change.Owned {
			after.since[change.pair] = revision
		} else {
			delete(after.since, change.pair)
		}
	}
	return after
}

// step says whether an operation can have been answered so in this state, and which state follows.
func (before state) step(operation *operation) (bool, state) {
	switch {
	case operation.Kind == "read":
		return before.read(operation)
	case operation.Outcome == "refused":
		_, blocked := before.decide(operation.Changes)
		isRight := len(blocked) > 0 && fmt.Sprint(blocked) == fmt.Sprint(operation.Blocked)
		return isRight && operation.Revision >= before.revision, before.set(operation.Revision, nil)
	default:
		return before.write(operation)
	}
}

// decide says which changes of a write are made, each on what the ones before it leave, and which pairs stand against it.
// What may be skipped never does.
func (before state) decide(changes []change) (changed []bool, blocked []pair) {
	decided := map[pair]bool{}
	for _, change := range changes {
		isOwned, known := decided[change.pair]
		if !known {
			_, isOwned = before.since[change.pair]
		}
		changed = append(changed, isOwned != change.Owned)
		if isOwned == change.Owned && !change.Skip {
			blocked = append(blocked, change.pair)
		}
		decided[change.pair] = change.Owned
	}
	return changed, blocked
}

func (before state) write(operation *operation) (bool, state) {
	changed, blocked := before.decide(operation.Changes)
	if len(blocked) > 0 || fmt.Sprint(changed) != fmt.Sprint(operation.Changed) {
		return false, before
	}
	made := operation.made()
	isLater := operation.Revision > before.revision || len(made) == 0 && operation.Revision == before.revision
	return isLater, before.set(operation.Revision, made)
}

func (before state) read(operation *operation) (bool, state) {
	if operation.Revision < before.revision || operation.Revision < operation.AtLeast {
		return false, before
	}
	said := map[pair]bool{}
	for _, shown := range operation.Shown {
		said[shown.pair] = true
		if before.since[shown.pair] != shown.Since {
			return false, before
		}
	}
	for owned := range before.since {
		for _, customer := range operation.Complete {
			if owned.Customer == customer && !said[owned] {
				return false, before
			}
		}
	}
	return true, before.set(operation.Revision, nil)
}

func (one state) equal(other state) bool {
	if one.revision != other.revision || len(one.since) != len(other.since) {
		return false
	}
	for owned, since := range one.since {
		if other.since[owned] != since {
			return false
		}
	}
	return true
}

// model is the sequential specification, of one group of customers that begin with nothing.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return state{} },
		Step: func(before, input, _ interface{}) (bool, interface{}) {
			return before.(state).step(input.(*operation))
		},
		Equal: func(one, other interface{}) bool { return one.(state).equal(other.(state)) },
		Hash:  func(of interface{}) uint64 { return of.(state).revision },
		DescribeOperation: func(input, _ interface{}) string {
			return describe(&input.(*operation).line)
		},
		DescribeState: func(of interface{}) string {
			var owned []string
			for pair, since := range of.(state).since {
				owned = append(owned, fmt.Sprintf("%s/%s since %d", pair.Customer, pair.Game, since))
			}
			sort.Strings(owned)
			return fmt.Sprintf("%d: %s", of.(state).revision, strings.Join(owned, ", "))
		},
	}
}

// describe says in one line what was asked and what was answered.
func describe(line *line) string {
	if line.Kind == "read" {
		var said []string
		for _, shown := range line.Shown {
			said = append(said, fmt.Sprintf("%s/%s %d", shown.Customer, shown.Game, shown.Since))
		}
		of := "of pairs"
		if len(line.Complete) > 0 {
			of = "of all of " + strings.Join(line.Complete, ", ")
		}
		atLeast := ""
		if line.AtLeast > 0 {
			atLeast = fmt.Sprintf(", at least at %d,", line.AtLeast)
		}
		return fmt.Sprintf("read %s%s at %d: [%s]", of, atLeast, line.Revision, strings.Join(said, ", "))
	}
	var asked []string
	for index, change := range line.Changes {
		verb := "take"
		if change.Owned {
			verb = "give"
		}
		done := ""
		if index < len(line.Changed) && !line.Changed[index] {
			done = " (skipped)"
		}
		asked = append(asked, fmt.Sprintf("%s %s/%s%s", verb, change.Customer, change.Game, done))
	}
	return fmt.Sprintf("%s: %s at %d", strings.Join(asked, ", "), line.Outcome, line.Revision)
}
