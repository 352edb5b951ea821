package main

import "fmt"

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
	case isLogged && (commit.Revision != told.Revision || fmt.Sprint(made) != fmt.Sprint(commit.Effects)):
		history.fault("request %s was told %s, and the log has %v at revision %d",
			told.RequestID, describe(&told.line), commit.Effects, commit.Revision)
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
	left := commit.Effects
	for index, change := range write.Changes {
		wanted := change.effects()
		if len(left) >= len(wanted) && fmt.Sprint(left[:len(wanted)]) == fmt.Sprint(wanted) {
			write.Changed[index] = true
			left = left[len(wanted):]
		}
	}
	if len(left) > 0 {
		history.fault("request %s asked for %v, and the log has %v at revision %d",
			write.RequestID, write.Changes, commit.Effects, commit.Revision)
	}
	history.operations = append(history.operations, write)
}

// made is what the log must have of a write that was told to be done.
func (write *operation) made() []effect {
	var made []effect
	for index, changed := range write.Changed {
		if changed && index < len(write.Changes) {
			made = append(made, write.Changes[index].effects()...)
		}
	}
	return made
}

// effects is what the log has of a change that was made.
func (change change) effects() []effect {
	switch change.Kind {
	case "give":
		return []effect{{Kind: "granted", pair: change.pair}}
	case "take":
		return []effect{{Kind: "revoked", pair: change.pair}}
	case "move":
		to := pair{Customer: change.To, Game: change.Game}
		return []effect{{Kind: "revoked", pair: change.pair}, {Kind: "granted", pair: to}}
	case "reserve":
		return []effect{{Kind: "reserved", pair: change.pair, Reservation: change.Reservation}}
	case "confirm":
		return []effect{{Kind: "granted", pair: change.pair, Reservation: change.Reservation}}
	case "release":
		return []effect{{Kind: "released", pair: change.pair, Reservation: change.Reservation}}
	default:
		return []effect{{Kind: "stocked", pair: change.pair}}
	}
}
