package testutil

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// lastWords is what tells most of an output that ended by itself: the panic if
// there is one, else the end. A panic may come behind a line of the log whose end
// was still to be written.
func lastWords(output string) string {
	at := endBegins.FindStringIndex(output)
	if at == nil {
		at = endWithin.FindStringIndex(output)
	}
	if at == nil {
		return lastLines(output, tailLines)
	}
	lines := strings.SplitN(strings.TrimRight(output[at[0]:], "\n"), "\n", panicLines+1)
	return strings.Join(lines[:min(panicLines, len(lines))], "\n")
}

var (
	endBegins = regexp.MustCompile(`(?m)^(panic|fatal error|SIG[A-Z0-9]+): `)
	endWithin = regexp.MustCompile(`(panic|fatal error|SIG[A-Z0-9]+): `)
)

func lastLines(output string, n int) string {
	lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// summarize makes one line of all goroutines that stand at the same place, the
// rarest first: a server has hundreds that wait, and the one that matters is
// seldom among the first. What is no goroutine trace is left out, and what
// belongs to the runtime.
func summarize(trace string, most int) string {
	count := map[string]int{}
	for goroutine := range strings.SplitSeq(trace, "\n\n") {
		head, rest, _ := strings.Cut(strings.TrimLeft(goroutine, "\n"), "\n")
		state := goroutineState.FindStringSubmatch(head)
		if state == nil {
			continue
		}
		var calls []string
		for line := range strings.SplitSeq(rest, "\n") {
			if name := callName.FindStringSubmatch(line); name != nil && !strings.HasPrefix(line, "created by ") && !strings.HasPrefix(line, "runtime.") {
				calls = append(calls, name[1])
			}
		}
		if len(calls) == 0 {
			continue
		}
		count[fmt.Sprintf("[%s] %s", state[1], strings.Join(calls[:min(8, len(calls))], " < "))]++
	}
	places := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(a, b))
	})
	var b strings.Builder
	for _, place := range places[:min(most, len(places))] {
		fmt.Fprintf(&b, "%d %s\n", count[place], place)
	}
	return b.String()
}

var (
	goroutineState = regexp.MustCompile(`^goroutine \d+ .*\[([^\]]*)\]:$`)
	callName       = regexp.MustCompile(`^(?:.*/)?([^/\s]\S*)\(.*\)$`) // the package's last part, type and function
)
