package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sort"
)

// A pair is a customer and a game.
type pair struct {
	Customer string `json:"customer"`
	Game     string `json:"game"`
}

// A change is one step of a write: from now on the customer owns the game, or no longer does. It is blocked where that is so
// already; then it is skipped, or the whole write is refused.
type change struct {
	pair
	Owned bool `json:"owned"`
	Skip  bool `json:"skip"`
}

// A shown pair is what a read says of it: the revision since which the game is owned, or 0.
type shown struct {
	pair
	Since uint64 `json:"since"`
}

// A line of the history. `kind` says which of the fields it has.
type line struct {
	// "write" or "read", as a client saw it; "commit", as it stands in the log that was read in the end.
	Kind     string `json:"kind"`
	Client   int    `json:"client"`
	Revision uint64 `json:"revision"`
	// When it was called, and when it returned, by one monotonic clock.
	CallNs   int64 `json:"call_ns"`
	ReturnNs int64 `json:"return_ns"`

	// Of a write and of a commit.
	RequestID string   `json:"request_id"`
	Changes   []change `json:"changes"`
	// Of a write: "done", "refused", "nothing" when it was said that nothing was written, or "unknown".
	Outcome string `json:"outcome"`
	// Of a write that is done, for each of its changes whether it was made.
	Changed []bool `json:"changed"`
	// Of a write that is refused, what stands against it.
	Blocked []pair `json:"blocked"`

	// Of a read: what it says, and of which customers that is all.
	Shown    []shown  `json:"shown"`
	Complete []string `json:"complete"`
	// Of a read that asked to be at least as fresh as a token: the token's revision, and when the operation that returned
	// it was called. The read may show any state since then.
	AtLeast     uint64 `json:"at_least"`
	FreshFromNs int64  `json:"fresh_from_ns"`
}

// An operation is what took effect at one moment between its call and its return, whatever attempts it took.
type operation struct {
	line
	// It has no return: nobody was told its outcome, and the log says that it took effect.
	open bool
}

// A history is everything that was seen.
type history struct {
	operations []operation
	// The log, ordered as it was read.
	commits []line
	// The writes of which no attempt was told an outcome, and the log has nothing.
	withoutEffect int
	// Faults that show before any order is looked for.
	faults []string
}

func (history *history) fault(format string, arguments ...any) {
	history.faults = append(history.faults, fmt.Sprintf(format, arguments...))
}

func readHistory(input io.Reader) (*history, error) {
	scanner := bufio.NewScanner(input)
	scanner.Buffer(nil, 1<<24)
	read := &history{}
	attempts := map[string][]line{}
	for number := 1; scanner.Scan(); number++ {
		var line line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		switch line.Kind {
		case "write":
			attempts[line.RequestID] = append(attempts[line.RequestID], line)
		case "read":
			read.operations = append(read.operations, operation{line: line})
		case "commit":
			read.commits = append(read.commits, line)
		default:
			return nil, fmt.Errorf("line %d: unknown kind %q", number, line.Kind)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	read.addWrites(attempts)
	sort.SliceStable(read.operations, func(i, j int) bool {
		return read.operations[i].CallNs < read.operations[j].CallNs
	})
	return read, nil
}

// addWrites makes one operation of all attempts under one request id, since they have one effect: it begins with the first
// attempt and ends when the first one is told the outcome.
func (history *history) addWrites(attempts map[string][]line) {
	logged := map[string]line{}
	for _, commit := range history.commits {
		if earlier, twice := logged[commit.RequestID]; twice {
			history.fault("request %s took effect twice, at revisions %d and %d",
				commit.RequestID, earlier.Revision, commit.Revision)
		}
		logged[commit.RequestID] = commit
		if _, called := attempts[commit.RequestID]; !called {
			history.fault("nobody sent the request %s of revision %d", commit.RequestID, commit.Revision)
		}
	}
	for requestID, tried := range attempts {
		commit, isLogged := logged[requestID]
		if merged, told := history.merge(tried); told {
			history.operations = append(history.operations, merged)
			history.compareWithLog(merged, commit, isLogged)
		} else if isLogged {
			history.addOpen(merged, tried, commit)
		} else {
			// A write that never takes effect can stand after all else, where it changes nothing that is seen.
			history.withoutEffect++
		}
	}
}

// merge puts attempts together, and says whether one of them was told the outcome.
func (history *history) merge(attempts []line) (operation, bool) {
	var told *line
	call := attempts[0].CallNs
	for index := range attempts {
		attempt := &attempts[index]
		if attempt.CallNs < call {
			call = attempt.CallNs
		}
		if attempt.Outcome != "done" && attempt.Outcome != "refused" {
			continue
		}
		if told != nil && !sameOutcome(told, attempt) {
			history.fault("request %s was told two outcomes: %s, and %s",
				attempt.RequestID, describe(told), describe(attempt))
		}
		if told == nil || attempt.ReturnNs < told.ReturnNs {
			told = attempt
		}
	}
	merged := operation{line: attempts[0]}
	if told != nil {
		merged.line = *told
	}
	merged.CallNs = call
	return merged, told != nil
}

func sameOutcome(one, other *line) bool {
	return one.Outcome == other.Outcome && one.Revision == other.Revision &&
		fmt.Sprint(one.Changed, one.Blocked) == fmt.Sprint(other.Changed, other.Blocked)
}

// compareWithLog sees whether what was told is what is in the log.
func (history *history) compareWithLog(told operation, commit line, isLogged bool) {
	made := told.made()
	switch {
	case len(made) == 0 && isLogged:
		history.fault("request %s was told that nothing changed, and revision %d is its effect",
			told.RequestID, commit.Revision)
	case len(made) > 0 && !isLogged:
		history.fault("request %s was told that it is done, and it is not in the log: %s",
			told.RequestID, describe(&told.line))
	case isLogged && (commit.Revision != told.Revision || !sameChanges(made, commit.Changes)):
		history.fault("request %s was told %s, and the log has %v at revision %d",
			told.RequestID, describe(&told.line), commit.Changes, commit.Revision)
	}
}

// addOpen adds a write whose outcome nobody was told, and which took effect as the log says.
func (history *history) addOpen(write operation, attempts []line, commit line) {
	saidNothing := true
	for _, attempt := range attempts {
		saidNothing = saidNothing && attempt.Outcome == "nothing"
	}
	if saidNothing {
		history.fault("request %s was told that nothing was written, and revision %d is its effect",
			write.RequestID, commit.Revision)
	}
	write.open = true
	write.Outcome, write.Revision = "done", commit.Revision
	write.Changed = make([]bool, len(write.Changes))
	for index, wanted := range write.Changes {
		for _, made := range commit.Changes {
			write.Changed[index] = write.Changed[index] || made.pair == wanted.pair && made.Owned == wanted.Owned
		}
	}
	if !sameChanges(write.made(), commit.Changes) {
		history.fault("request %s asked for %v, and the log has %v at revision %d",
			write.RequestID, write.Changes, commit.Changes, commit.Revision)
	}
	history.operations = append(history.operations, write)
}

// made are the changes that a write was told to have made.
func (write *operation) made() []change {
	var made []change
	for index, changed := range write.Changed {
		if changed && index < len(write.Changes) {
			made = append(made, write.Changes[index])
		}
	}
	return made
}

func sameChanges(one, other []change) bool {
	if len(one) != len(other) {
		return false
	}
	for index := range one {
		if one[index].pair != other[index].pair || one[index].Owned != other[index].Owned {
			return false
		}
	}
	return true
}
