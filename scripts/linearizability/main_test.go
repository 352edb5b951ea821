package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Lines of which the histories below are made.
const (
	given   = `{"kind":"write","client":0,"call_ns":10,"return_ns":20,"request_id":"a","revision":1,"outcome":"done","changed":[true],"changes":[{"kind":"give","customer":"c","game":"g"}]}`
	givenIn = `{"kind":"commit","revision":1,"request_id":"a","effects":[{"kind":"granted","customer":"c","game":"g"}]}`
	taken   = `{"kind":"write","client":1,"call_ns":30,"return_ns":40,"request_id":"b","revision":2,"outcome":"done","changed":[true],"changes":[{"kind":"take","customer":"c","game":"g"}]}`
	takenIn = `{"kind":"commit","revision":2,"request_id":"b","effects":[{"kind":"revoked","customer":"c","game":"g"}]}`
	moved   = `{"kind":"write","client":1,"call_ns":30,"return_ns":40,"request_id":"b","revision":2,"outcome":"done","changed":[true],"changes":[{"kind":"move","customer":"c","game":"g","to":"d"}]}`
	movedIn = `{"kind":"commit","revision":2,"request_id":"b","effects":[{"kind":"revoked","customer":"c","game":"g"},{"kind":"granted","customer":"d","game":"g"}]}`
	// Nobody was told what became of it.
	unknown   = `{"kind":"write","client":2,"call_ns":15,"request_id":"b","outcome":"unknown","changes":[{"kind":"take","customer":"c","game":"g"}]}`
	readOwned = `{"kind":"read","client":3,"call_ns":50,"return_ns":60,"revision":1,"shown":[{"customer":"c","game":"g","since":1}]}`
	readNone  = `{"kind":"read","client":3,"call_ns":50,"return_ns":60,"revision":2,"complete":["c"]}`
	// A refusal of giving the same game again.
	refused = `{"kind":"write","client":0,"call_ns":22,"return_ns":24,"request_id":"r","revision":1,"outcome":"refused","blocked":[{"type":"NOT_OWNED","subject":"customers/c/games/g"}],"changes":[{"kind":"give","customer":"c","game":"g"}]}`
	// One copy of a limited edition, of which d wants one too.
	stocked    = `{"kind":"write","client":0,"call_ns":1,"return_ns":2,"request_id":"s","revision":1,"outcome":"done","changed":[true],"changes":[{"kind":"stock","customer":"","game":"g","copies":1}]}`
	stockedIn  = `{"kind":"commit","revision":1,"request_id":"s","effects":[{"kind":"stocked","customer":"","game":"g"}]}`
	reserved   = `{"kind":"write","client":0,"call_ns":10,"return_ns":20,"request_id":"v","revision":2,"outcome":"done","changed":[true],"changes":[{"kind":"reserve","customer":"c","game":"g","reservation":"v"}]}`
	reservedIn = `{"kind":"commit","revision":2,"request_id":"v","effects":[{"kind":"reserved","customer":"c","game":"g","reservation":"v"}]}`
	soldOut    = `{"kind":"write","client":1,"call_ns":22,"return_ns":24,"request_id":"o","revision":2,"outcome":"refused","blocked":[{"type":"IN_STOCK","subject":"customers/d/games/g"}],"changes":[{"kind":"give","customer":"d","game":"g"}]}`
	soldTwice  = `{"kind":"write","client":1,"call_ns":22,"return_ns":24,"request_id":"o","revision":3,"outcome":"done","changed":[true],"changes":[{"kind":"give","customer":"d","game":"g"}]}`
	soldIn     = `{"kind":"commit","revision":3,"request_id":"o","effects":[{"kind":"granted","customer":"d","game":"g"}]}`
	confirmed  = `{"kind":"write","client":0,"call_ns":30,"return_ns":40,"request_id":"k","revision":3,"outcome":"done","changed":[true],"changes":[{"kind":"confirm","customer":"c","game":"g","reservation":"v"}]}`
	confirmIn  = `{"kind":"commit","revision":3,"request_id":"k","effects":[{"kind":"granted","customer":"c","game":"g","reservation":"v"}]}`
	stockRead  = `{"kind":"read","client":3,"call_ns":50,"return_ns":60,"revision":3,"stock":{"game":"g","total":1,"sold":1,"reserved":0}}`
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
		"one after another":             {given, taken, readNone, givenIn, takenIn},
		"a write that nobody was told":  {given, unknown, readNone, givenIn, takenIn},
		"a write that took no effect":   {given, unknown, readOwned, givenIn},
		"a read at the same time":       {given, taken, with(readOwned, `"call_ns":50`, `"call_ns":35`), givenIn, takenIn},
		"a read as fresh as was asked":  {given, taken, with(readOwned, `"shown"`, `"at_least":1,"fresh_from_ns":10,"shown"`), givenIn, takenIn},
		"a repeat after the return":     {given, with(given, `"call_ns":10,"return_ns":20`, `"call_ns":70,"return_ns":80`), taken, readNone, givenIn, takenIn},
		"an attempt that wrote nothing": {with(given, `"call_ns":10`, `"call_ns":15`), with(given, `"outcome":"done"`, `"outcome":"nothing"`, `"changed":[true],`, ``), readOwned, givenIn},
		"a refusal":                     {given, refused, givenIn},
		"a game that is skipped":        {given, with(given, `"a"`, `"s"`, `10`, `22`, `20`, `24`, `[true]`, `[false]`, `"give"`, `"give","skip":true`), givenIn},
		"a transfer of two customers":   {given, moved, with(readNone, `"complete"`, `"shown":[{"customer":"d","game":"g","since":2}],"complete"`), givenIn, movedIn},
		"customers beside each other":   {given, with(given, `"c"`, `"d"`, `"a"`, `"b"`, `"revision":1`, `"revision":2`), givenIn, with(givenIn, `"c"`, `"d"`, `"a"`, `"b"`, `"revision":1`, `"revision":2`)},
		"given and taken in one":        {with(given, `[true]`, `[true,true]`, `"g"}`, `"g"},{"kind":"take","customer":"c","game":"g"}`), with(givenIn, `"g"}`, `"g"},{"kind":"revoked","customer":"c","game":"g"}`), with(readNone, `"revision":2`, `"revision":1`)},
		"the last copy sold once":       {stocked, reserved, soldOut, confirmed, stockRead, stockedIn, reservedIn, confirmIn},
	} {
		if code, said := check(t, lines); code != exitOK {
			t.Errorf("%s: exit %d:\n%s", name, code, said)
		}
	}
}

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
		"another effect than was asked for": {
			[]string{given, with(givenIn, `"c"`, `"d"`)}, "and the log has"},
		"another effect of what nobody was told": {
			[]string{given, unknown, givenIn, with(takenIn, `"c"`, `"d"`)}, "asked for"},
		"an effect of what was told to be nothing": {
			[]string{with(given, `"outcome":"done"`, `"outcome":"nothing"`), readOwned, givenIn}, "told that nothing was written"},
		"an effect of a refusal": {
			[]string{given, refused, givenIn, with(givenIn, `"a"`, `"r"`, `1`, `2`)}, "told that nothing changed"},
		"a refusal without a cause": {
			[]string{refused}, "NOT LINEARIZABLE"},
		"a refusal for another cause": {
			[]string{given, with(refused, `"NOT_OWNED"`, `"IN_STOCK"`), givenIn}, "NOT LINEARIZABLE"},
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
		"the last copy sold twice": {
			[]string{stocked, reserved, soldTwice, stockedIn, reservedIn, soldIn}, "NOT LINEARIZABLE"},
		"sold out while there is a copy": {
			[]string{stocked, with(soldOut, `"revision":2`, `"revision":1`), stockedIn}, "NOT LINEARIZABLE"},
		"a reservation that is confirmed twice": {
			[]string{stocked, reserved, confirmed, with(confirmed, `30`, `42`, `40`, `44`, `"k"`, `"l"`, `3`, `4`), stockedIn, reservedIn, confirmIn, with(confirmIn, `3`, `4`, `"k"`, `"l"`)}, "NOT LINEARIZABLE"},
		"a stock that forgets what is sold": {
			[]string{stocked, reserved, confirmed, with(stockRead, `"sold":1`, `"sold":0`), stockedIn, reservedIn, confirmIn}, "NOT LINEARIZABLE"},
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
