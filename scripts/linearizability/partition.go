package main

import (
	"sort"
	"strings"

	"github.com/anishathalye/porcupine"
)

// A group is customers whose operations have to be looked at together, since some of them concern more than one.
type group struct {
	name       string
	operations []*operation
}

// concerns is all that an operation says something about: customers, and games of which there are only so many copies, since
// what one customer gets of them another one does not.
func (operation *operation) concerns(isLimited map[string]bool) []string {
	concerns := append([]string(nil), operation.Complete...)
	of := func(customer, game string) {
		if customer != "" {
			concerns = append(concerns, customer)
		}
		if isLimited[game] {
			concerns = append(concerns, game)
		}
	}
	for _, change := range operation.Changes {
		of(change.Customer, change.Game)
		of(change.To, "")
	}
	for _, shown := range operation.Shown {
		of(shown.Customer, shown.Game)
	}
	if operation.Stock != nil {
		of("", operation.Stock.Game)
	}
	return concerns
}

func (history *history) limited() map[string]bool {
	limited := map[string]bool{}
	for _, operation := range history.operations {
		for _, change := range operation.Changes {
			limited[change.Game] = limited[change.Game] || change.Kind == "stock"
		}
		if operation.Stock != nil {
			limited[operation.Stock.Game] = true
		}
	}
	return limited
}

// groups divides the operations: two customers are in one group when an operation concerns both, or another customer or a
// limited edition joins them.
func (history *history) groups() []group {
	isLimited := history.limited()
	leader := map[string]string{}
	var find func(member string) string
	find = func(member string) string {
		if above, known := leader[member]; known && above != member {
			leader[member] = find(above)
			return leader[member]
		}
		leader[member] = member
		return member
	}
	for index := range history.operations {
		concerns := history.operations[index].concerns(isLimited)
		for _, member := range concerns {
			leader[find(member)] = find(concerns[0])
		}
	}
	members := map[string][]string{}
	for member := range leader {
		members[find(member)] = append(members[find(member)], member)
	}
	operations := map[string][]*operation{}
	for index := range history.operations {
		operation := &history.operations[index]
		of := find(operation.concerns(isLimited)[0])
		operations[of] = append(operations[of], operation)
	}
	var groups []group
	for of, names := range members {
		sort.Strings(names)
		groups = append(groups, group{name: strings.Join(names, ", "), operations: operations[of]})
	}
	sort.Slice(groups, func(i, j int) bool { return groups[i].name < groups[j].name })
	return groups
}

// timed gives the checker the times of the operations. Those that are open return when all else has. In the picture each
// client has a row, in which nothing may overlap: an operation that begins before its call has a row of its own.
func (group *group) timed() []porcupine.Operation {
	var end int64
	rows := 0
	for _, operation := range group.operations {
		if operation.ReturnNs > end {
			end = operation.ReturnNs
		}
		if operation.Client >= rows {
			rows = operation.Client + 1
		}
	}
	var timed []porcupine.Operation
	for _, operation := range group.operations {
		client, returned := operation.Client, operation.ReturnNs
		if operation.open {
			returned = end + 1
		}
		if operation.open || operation.begin() != operation.CallNs {
			client = rows
			rows++
		}
		timed = append(timed, porcupine.Operation{
			ClientId: client, Input: operation, Call: operation.begin(), Return: returned,
		})
	}
	return timed
}
