package main

import "fmt"

// decide makes the changes of a write, each on what the ones before it leave, and says which of them changed anything and
// what stands against the write as a whole.
func (of *state) decide(changes []change) (changed []bool, blocked []violation) {
	for _, change := range changes {
		isMade, against := of.apply(change)
		changed = append(changed, isMade)
		if against != nil {
			blocked = append(blocked, *against)
		}
	}
	return changed, blocked
}

// apply makes one change, or says what stands against it.
func (of *state) apply(change change) (bool, *violation) {
	switch change.Kind {
	case "give":
		if _, isOwned := of.owned[change.pair]; isOwned {
			return of.skip(change, "NOT_OWNED")
		}
		isCopy, none := of.take(change.pair)
		if none == nil {
			of.owned[change.pair] = ownership{since: of.revision, copy: isCopy}
		}
		return none == nil, none
	case "take":
		if _, isOwned := of.owned[change.pair]; !isOwned {
			return of.skip(change, "OWNED")
		}
		delete(of.owned, change.pair)
		return true, nil
	case "move":
		return of.move(change)
	case "reserve":
		return of.reserve(change)
	case "confirm", "release":
		return of.close(change)
	case "stock":
		of.copies[change.Game] += int(change.Copies)
		return true, nil
	default:
		return false, &violation{"UNKNOWN_KIND", change.Kind}
	}
}

// skip passes over a change with which there is nothing to do, where that was asked for.
func (of *state) skip(change change, kind string) (bool, *violation) {
	if change.Skip {
		return false, nil
	}
	return false, against(kind, change.pair)
}

func against(kind string, of pair) *violation {
	return &violation{kind, fmt.Sprintf("customers/%s/games/%s", of.Customer, of.Game)}
}

// take says whether the game is a limited edition, and what stands against taking a copy of it.
func (of *state) take(wanted pair) (bool, *violation) {
	copies, isLimited := of.copies[wanted.Game]
	sold, reserved := of.taken(wanted.Game)
	if isLimited && sold+reserved >= copies {
		return true, against("IN_STOCK", wanted)
	}
	return isLimited, nil
}

func (of *state) move(change change) (bool, *violation) {
	to := pair{Customer: change.To, Game: change.Game}
	if _, isOwned := of.owned[to]; isOwned {
		return false, against("NOT_OWNED", to)
	}
	moved, isOwned := of.owned[change.pair]
	if !isOwned {
		return false, against("OWNED", change.pair)
	}
	delete(of.owned, change.pair)
	of.owned[to] = ownership{since: of.revision, copy: moved.copy}
	return true, nil
}

func (of *state) reserve(change change) (bool, *violation) {
	if _, isOwned := of.owned[change.pair]; isOwned {
		return false, against("NOT_OWNED", change.pair)
	}
	for _, other := range of.reservations {
		if other.isOpen && other.of == change.pair {
			return false, against("NOT_RESERVED", change.pair)
		}
	}
	isCopy, none := of.take(change.pair)
	if none == nil {
		of.reservations[change.Reservation] = reservation{of: change.pair, isOpen: true, copy: isCopy}
	}
	return none == nil, none
}

// close turns a reservation into ownership, or gives it up.
func (of *state) close(change change) (bool, *violation) {
	subject := "reservations/" + change.Reservation
	closed, isKnown := of.reservations[change.Reservation]
	if !isKnown || !closed.isOpen {
		return false, &violation{"RESERVATION_OPEN", subject}
	}
	if change.Kind == "confirm" {
		if _, isOwned := of.owned[closed.of]; isOwned {
			return false, &violation{"NOT_OWNED", subject}
		}
		of.owned[closed.of] = ownership{since: of.revision, copy: closed.copy}
	}
	of.reservations[change.Reservation] = reservation{of: closed.of, copy: closed.copy}
	return true, nil
}
