package main

import (
	"fmt"
	"strings"
)

// describe says in one line what was asked and what was answered.
func describe(line *line) string {
	if line.Kind == "read" {
		return describeRead(line)
	}
	var asked []string
	for index, change := range line.Changes {
		said := fmt.Sprintf("%s %s/%s", change.Kind, change.Customer, change.Game)
		if change.To != "" {
			said += " to " + change.To
		}
		if index < len(line.Changed) && !line.Changed[index] {
			said += " (skipped)"
		}
		asked = append(asked, said)
	}
	said := fmt.Sprintf("%s: %s at %d", strings.Join(asked, ", "), line.Outcome, line.Revision)
	for _, blocked := range line.Blocked {
		said += fmt.Sprintf(", not %s %s", blocked.Type, blocked.Subject)
	}
	return said
}

func describeRead(line *line) string {
	var said []string
	for _, shown := range line.Shown {
		said = append(said, fmt.Sprintf("%s/%s %d", shown.Customer, shown.Game, shown.Since))
	}
	if line.Stock != nil {
		said = append(said, fmt.Sprintf("%+v", *line.Stock))
	}
	of := "of what was asked"
	if len(line.Complete) > 0 {
		of = "of all of " + strings.Join(line.Complete, ", ")
	}
	if line.AtLeast > 0 {
		of += fmt.Sprintf(", at least at %d,", line.AtLeast)
	}
	return fmt.Sprintf("read %s at %d: [%s]", of, line.Revision, strings.Join(said, ", "))
}
