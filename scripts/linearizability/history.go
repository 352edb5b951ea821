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

// A change is one step of a write. Its kind says what is asked for: "give" or "take" a game, "move" it to another customer,
// "reserve" it, "confirm" or "release" a reservation, "stock" copies of it.
type change struct {
	Kind string `json:"kind"`
	pair
	// Who gets what is moved.
	To string `json:"to"`
	// What is given or taken is passed over where there is nothing to do; otherwise the whole write is refused.
	Skip bool `json:"skip"`
	// The reservation that is confirmed or released, or the name of the one that is opened.
	Reservation string `json:"reservation"`
	// The copies that are added.
	Copies uint64 `json:"copies"`
}

// An effect is what the log says of a commit: "granted", "revoked", "reserved", "released", "stocked".
type effect struct {
	Kind string `json:"kind"`
	pair
	Reservation string `json:"reservation"`
}

// A violation is what stands against a write.
type violation struct {
	Type    string `json:"type"`
	Subject string `json:"subject"`
}

// A shown pair is what a read says of it: the revision since which the game is owned, or 0.
type shown struct {
	pair
	Since uint64 `json:"since"`
}

// A stock is what a read says of the copies of a game.
type stock struct {
	Game     string `json:"game"`
	Total    int    `json:"total"`
	Sold     int    `json:"sold"`
	Reserved int    `json:"reserved"`
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
	RequestID string `json:"request_id"`
	// Of a write.
	Changes []change `json:"changes"`
	// Of a write: "done", "refused", "nothing" when it was said that nothing was written, or "unknown".
	Outcome string `json:"outcome"`
	// Of a write that is done, for each of its changes whether it was made.
	Changed []bool `json:"changed"`
	// Of a write that is refused.
	Blocked []violation `json:"blocked"`
	// Of a commit.
	Effects []effect `json:"effects"`

	// Of a read: what it says, and of which customers that is all.
	Shown    []shown  `json:"shown"`
	Complete []string `json:"complete"`
	Stock    *stock   `json:"stock"`
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
