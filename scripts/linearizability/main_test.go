package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The lines of the histories below, with what they leave out filled in.
const (
	given   = `{"kind":"write","client":0,"call_ns":10,"return_ns":20,"request_id":"a","revision":1,"outcome":"done","changed":[true],"changes":[{"customer":"c","game":"g","owned":true}]}`
	givenIn = `{"kind":"commit","revision":1,"request_id":"a","changes":[{"customer":"c","game":"g","owned":true}]}`
	taken   = `{"kind":"write","client":1,"call_ns":30,"return_ns":40,"request_id":"b","revision":2,"outcome":"done","changed":[true],"changes":[{"customer":"c","game":"g","owned":false}]}`
	takenIn = `{"kind":"commit","revision":2,"request_id":"b","changes":[{"customer":"c","game":"g","owned":false}]}`
	// Nobody was told what became of it.
	unknown   = `{"kind":"write","client":2,"call_ns":15,"request_id":"b","outcome":"unknown","changes":[{"customer":"c","game":"g","owned":false}]}`
	readOwned = `{"kind":"read","client":3,"call_ns":50,"return_ns":60,"revision":1,"shown":[{"customer":"c","game":"g","since":1}]}`
	readNone  = `{"kind":"read","client":3,"call_ns":50,"return_ns":60,"revision":2,"complete":["c"]}`
)

// with replaces parts of a line: old and new, by turns.
func with(line string, replaced ...string) string {
	for index := 0; index < len(replaced); index += 2 {
		if !strings.Contains(line, replaced[index]) {
			panic(replaced[index] + " is not in " + line)
		}
		line = strings.Replace(line, replaced[index], replaced[index+1], 1)
	}
	return line
}

func check(t *testing.T, lines []string) (int, string) {
	t.Helper()
	var output strings.Builder
	code := run(strings.NewReader(strings.Join(lines, "\n")), "", time.Minute, &output)
	return code, output.String()
}

func TestWhatCanHappenIsLinearizable(t *testing.T) {
	for name, lines := range map[string][]string{
		"one after another":              {given, taken, readNone, givenIn, takenIn},
		"a write that nobody was told":   {given, unknown, readNone, givenIn, takenIn},
		"a write that took no effect":    {given, unknown, readOwned, givenIn},
		"a read at the same time":        {given, taken, with(readOwned, `"call_ns":50`, `"call_ns":35`), givenIn, takenIn},
		"a read as fresh as was asked":   {given, taken, with(readOwned, `"shown"`, `"at_least":1,"fresh_from_ns":10,"shown"`), givenIn, takenIn},
		"a repeat after the return":      {given, with(given, `"call_ns":10,"return_ns":20`, `"call_ns":70,"return_ns":80`), taken, readNone, givenIn, takenIn},
		"an attempt that wrote nothing":  {with(given, `"call_ns":10`, `"call_ns":15`), with(given, `"outcome":"done"`, `"outcome":"nothing"`, `"changed":[true],`, ``), readOwned, givenIn},
		"a refusal":                      {given, with(given, `"a"`, `"r"`, `10`, `22`, `20`, `24`, `"done","changed":[true]`, `"refused","blocked":[{"customer":"c","game":"g"}]`), givenIn},
		"a game that is skipped":         {given, with(given, `"a"`, `"s"`, `10`, `22`, `20`, `24`, `[true]`, `[false]`, `"owned":true`, `"owned":true,"skip":true`), givenIn},
		"a transfer of two customers":    {given, moved, with(readNone, `"complete"`, `"shown":[{"customer":"d","game":"g","since":2}],"complete"`), givenIn, movedIn},
		"customers beside each other":    {given, with(given, `"c"`, `"d"`, `"a"`, `"b"`, `"revision":1`, `"revision":2`), givenIn, with(givenIn, `"c"`, `"d"`, `"a"`, `"b"`, `"revision":1`, `"revision":2`)},
		"given and taken in one request": {with(given, `[true]`, `[true,true]`, `"owned":true}`, `"owned":true},{"customer":"c","game":"g"}`), with(givenIn, `"owned":true}`, `"owned":true},{"customer":"c","game":"g"}`), with(readNone, `"revision":2`, `"revision":1`)},
	} {
		if code, said := check(t, lines); code != exitOK {
			t.Errorf("%s: exit %d:\n%s", name, code, said)
		}
	}
}

const (
	moved   = `{"kind":"write","client":1,"call_ns":30,"return_ns":40,"request_id":"m","revision":2,"outcome":"done","changed":[true,true],"changes":[{"customer":"c","game":"g"},{"customer":"d","game":"g","owned":true}]}`
	movedIn = `{"kind":"commit","revision":2,"request_id":"m","changes":[{"customer":"c","game":"g"},{"customer":"d","game":"g","owned":true}]}`
)

func TestWhatCannotHappenIsSaidSo(t *testing.T) {
	for name, test := range map[string]struct {
		lines []string
		says  string
	}{
		"a stale read": {
			[]string{given, taken, readOwned, givenIn, takenIn}, "NOT LINEARIZABLE"},
		"a stale read that claims to be newer": {
			[]string{given, taken, with(readOwned, `"revision":1`, `"revision":2`), givenIn, takenIn}, "NOT LINEARIZABLE"},
		"a read that forgets a game": {
			[]string{given, with(readNone, `"revision":2`, `"revision":1`), givenIn}, "NOT LINEARIZABLE"},
		"a read of what is not written yet": {
			[]string{with(readOwned, `50`, `1`, `60`, `2`), given, givenIn}, "NOT LINEARIZABLE"},
		"a read that is less fresh than was asked": {
			[]string{given, taken, with(readOwned, `"shown"`, `"at_least":2,"fresh_from_ns":30,"shown"`), givenIn, takenIn}, "NOT LINEARIZABLE"},
		"a write that was acknowledged and lost": {
			[]string{given, with(readNone, `"revision":2`, `"revision":1`)}, "is not in the log"},
		"a write that was acknowledged, lost, and done again by another": {
			[]string{given, with(given, `"a"`, `"r"`, `10`, `22`, `20`, `24`), with(givenIn, `"a"`, `"r"`)}, "NOT LINEARIZABLE"},
		"a request that took effect twice": {
			[]string{given, taken, givenIn, takenIn, with(givenIn, `1`, `3`)}, "took effect twice"},
		"an effect that nobody asked for": {
			[]string{given, givenIn, takenIn}, "nobody sent"},
		"an effect of what was told to be nothing": {
			[]string{with(given, `"outcome":"done"`, `"outcome":"nothing"`), readOwned, givenIn}, "told that nothing was written"},
		"an effect of a refusal": {
			[]string{with(given, `"done","changed":[true]`, `"refused","blocked":[{"customer":"c","game":"g"}]`), givenIn}, "told that nothing changed"},
		"a refusal without a cause": {
			[]string{with(given, `"done","changed":[true]`, `"refused","blocked":[{"customer":"c","game":"g"}]`)}, "NOT LINEARIZABLE"},
		"two outcomes of one request": {
			[]string{given, with(given, `"revision":1`, `"revision":2`), givenIn}, "told two outcomes"},
		"two writes with one revision": {
			[]string{given, with(given, `"c"`, `"d"`, `"a"`, `"b"`), givenIn, with(givenIn, `"c"`, `"d"`, `"a"`, `"b"`)}, "two writes have one revision"},
		"a later write with an earlier revision": {
			[]string{with(given, `"revision":1`, `"revision":2`), with(taken, `"c"`, `"d"`, `"revision":2`, `"revision":1`), with(takenIn, `"revision":2`, `"revision":1`, `"c"`, `"d"`), with(givenIn, `"revision":1`, `"revision":2`)}, "revision that is not later"},
		"a gap in the log": {
			[]string{given, with(taken, `"revision":2`, `"revision":3`), givenIn, with(takenIn, `"revision":2`, `"revision":3`)}, "goes from revision 1 to 3"},
		"half a transfer": {
			[]string{given, moved, with(readNone, `"complete"`, `"shown":[{"customer":"d","game":"g","since":0}],"complete"`), givenIn, movedIn}, "NOT LINEARIZABLE"},
	} {
		code, said := check(t, test.lines)
		if code != exitIllegal || !strings.Contains(said, test.says) {
			t.Errorf("%s: exit %d, and %q should be said in:\n%s", name, code, test.says, said)
		}
	}
}

func TestWhatCannotBeReadIsNotCalledRight(t *testing.T) {
	for _, lines := range [][]string{{}, {"nonsense"}, {`{"kind":"other"}`}} {
		if code, said := check(t, lines); code != exitUndecided {
			t.Errorf("%q: exit %d:\n%s", lines, code, said)
		}
	}
}

func TestThePictureShowsWhatIsNotLinearizable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "picture.html")
	var output strings.Builder
	lines := strings.NewReader(strings.Join([]string{given, taken, readOwned, givenIn, takenIn}, "\n"))
	if code := run(lines, path, time.Minute, &output); code != exitIllegal {
		t.Fatalf("exit %d:\n%s", code, output.String())
	}
	picture, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(picture), "give c/g: done at 1") {
		t.Fatalf("%v: %.200s", err, picture)
	}
}
