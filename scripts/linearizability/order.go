package main

import "sort"

// checkOrder sees, over all customers, whether revisions grow with time: a write that changes something returns a revision
// greater than any that was seen before it began, anything else one that is not smaller.
func (history *history) checkOrder() {
	byReturn := make([]*operation, 0, len(history.operations))
	byBegin := make([]*operation, 0, len(history.operations))
	for index := range history.operations {
		operation := &history.operations[index]
		byBegin = append(byBegin, operation)
		if !operation.open {
			byReturn = append(byReturn, operation)
		}
	}
	sort.SliceStable(byReturn, func(i, j int) bool { return byReturn[i].ReturnNs < byReturn[j].ReturnNs })
	sort.SliceStable(byBegin, func(i, j int) bool { return byBegin[i].begin() < byBegin[j].begin() })
	var newest *operation
	finished := 0
	for _, operation := range byBegin {
		for finished < len(byReturn) && byReturn[finished].ReturnNs < operation.begin() {
			if newest == nil || byReturn[finished].Revision > newest.Revision {
				newest = byReturn[finished]
			}
			finished++
		}
		if newest == nil {
			continue
		}
		isCommit := len(operation.made()) > 0
		if operation.Revision < newest.Revision || isCommit && operation.Revision == newest.Revision {
			history.fault("an operation that began later has a revision that is not later: first %s, then %s",
				describe(&newest.line), describe(&operation.line))
		}
	}
}

// begin is the earliest moment at which an operation can have taken effect.
func (operation *operation) begin() int64 {
	if operation.FreshFromNs > 0 {
		return operation.FreshFromNs
	}
	return operation.CallNs
}

// checkCommits sees whether the log has no gaps, and whether no revision was told to two writes.
func (history *history) checkCommits() {
	for index := 1; index < len(history.commits); index++ {
		before, after := history.commits[index-1].Revision, history.commits[index].Revision
		if after != before+1 {
			history.fault("the log goes from revision %d to %d", before, after)
		}
	}
	commits := map[uint64]*operation{}
	for index := range history.operations {
		operation := &history.operations[index]
		if len(operation.made()) == 0 {
			continue
		}
		if other, taken := commits[operation.Revision]; taken {
			history.fault("two writes have one revision: %s, and %s", describe(&other.line), describe(&operation.line))
		}
		commits[operation.Revision] = operation
	}
}
