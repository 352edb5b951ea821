package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/anishathalye/porcupine"
)

// An ownership is since which revision a game is owned, and whether it is a copy of a limited edition.
type ownership struct {
	since uint64
	copy  bool
}

// A reservation is of a pair; once it is closed it holds nothing.
type reservation struct {
	of     pair
	isOpen bool
	copy   bool
}

// A state is what a group of customers owns, and what they may buy. Never changed in place.
type state struct {
	// The newest revision that was seen so far.
	revision     uint64
	owned        map[pair]ownership
	reservations map[string]reservation
	// The copies of each limited edition.
	copies map[string]int
}

// at is the same state seen at a later revision.
func (before state) at(revision uint64) state {
	before.revision = revision
	return before
}

func (before state) clone() state {
	after := state{
		revision:     before.revision,
		owned:        make(map[pair]ownership, len(before.owned)+1),
		reservations: make(map[string]reservation, len(before.reservations)+1),
		copies:       make(map[string]int, len(before.copies)+1),
	}
	for of, one := range before.owned {
		after.owned[of] = one
	}
	for name, one := range before.reservations {
		after.reservations[name] = one
	}
	for game, copies := range before.copies {
		after.copies[game] = copies
	}
	return after
}

// taken is how many copies of a game are sold and how many are reserved.
func (of state) taken(game string) (sold, reserved int) {
	for pair, one := range of.owned {
		if one.copy && pair.Game == game {
			sold++
		}
	}
	for _, one := range of.reservations {
		if one.copy && one.isOpen && one.of.Game == game {
			reserved++
		}
	}
	return sold, reserved
}

// step says whether an operation can have been answered so in this state, and which state follows.
func (before state) step(operation *operation) (bool, state) {
	if operation.Revision < before.revision {
		return false, before
	}
	if operation.Kind == "read" {
		return before.shows(operation), before.at(operation.Revision)
	}
	after := before.clone().at(operation.Revision)
	changed, blocked := after.decide(operation.Changes)
	if len(blocked) > 0 || operation.Outcome == "refused" {
		isTold := operation.Outcome == "refused" && fmt.Sprint(blocked) == fmt.Sprint(operation.Blocked)
		return isTold && len(blocked) > 0, before.at(operation.Revision)
	}
	isLater := operation.Revision > before.revision || len(operation.made()) == 0
	return isLater && fmt.Sprint(changed) == fmt.Sprint(operation.Changed), after
}

// shows says whether a read says what is so.
func (of state) shows(read *operation) bool {
	if read.Revision < read.AtLeast {
		return false
	}
	said := map[pair]bool{}
	for _, shown := range read.Shown {
		said[shown.pair] = true
		if of.owned[shown.pair].since != shown.Since {
			return false
		}
	}
	for pair := range of.owned {
		for _, customer := range read.Complete {
			if pair.Customer == customer && !said[pair] {
				return false
			}
		}
	}
	if read.Stock == nil {
		return true
	}
	sold, reserved := of.taken(read.Stock.Game)
	return *read.Stock == stock{read.Stock.Game, of.copies[read.Stock.Game], sold, reserved}
}

func (one state) equal(other state) bool {
	if one.revision != other.revision || len(one.owned) != len(other.owned) ||
		len(one.reservations) != len(other.reservations) || len(one.copies) != len(other.copies) {
		return false
	}
	for of, ownership := range one.owned {
		if other.owned[of] != ownership {
			return false
		}
	}
	for name, reservation := range one.reservations {
		if other.reservations[name] != reservation {
			return false
		}
	}
	for game, copies := range one.copies {
		if other.copies[game] != copies {
			return false
		}
	}
	return true
}

func (of state) String() string {
	var said []string
	for pair, one := range of.owned {
		said = append(said, fmt.Sprintf("%s/%s since %d", pair.Customer, pair.Game, one.since))
	}
	for _, one := range of.reservations {
		if one.isOpen {
			said = append(said, fmt.Sprintf("%s/%s reserved", one.of.Customer, one.of.Game))
		}
	}
	for game, copies := range of.copies {
		said = append(said, fmt.Sprintf("%d copies of %s", copies, game))
	}
	sort.Strings(said)
	return fmt.Sprintf("%d: %s", of.revision, strings.Join(said, ", "))
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
		DescribeState: func(of interface{}) string { return of.(state).String() },
	}
}
