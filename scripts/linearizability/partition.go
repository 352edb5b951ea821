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

// customers are all that an operation says something about.
func (operation *operation) customers() []string {
	customers := append([]string(nil), operation.Complete...)
	for _, change := range operation.Changes {
		customers = append(customers, change.Customer)
	}
	for _, shown := range operation.Shown {
		customers = append(customers, shown.Customer)
	}
	return customers
}

// groups divides the operations: two customers are in one group when an operation concerns both, or another customer joins
// them.
func (history *history) groups() []group {
	leader := map[string]string{}
	var find func(customer string) string
	find = func(customer string) string {
		if above, known := leader[customer]; known && above != customer {
			leader[customer] = find(above)
			return leader[customer]
		}
		leader[customer] = customer
		return customer
	}
	for index := range history.operations {
		customers := history.operations[index].customers()
		for _, customer := range customers {
			leader[find(customer)] = find(customers[0])
		}
	}
	members := map[string][]string{}
	for customer := range leader {
		members[find(customer)] = append(members[find(customer)], customer)
	}
	operations := map[string][]*operation{}
	for index := range history.operations {
		operation := &history.operations[index]
		of := find(operation.customers()[0])
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
