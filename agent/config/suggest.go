package config

import (
	"fmt"
	"strings"
)

// unknown is the error about a key that is in no table, with the known key that is most like it.
func (k *keys) unknown(s setting) error {
	near := k.nearest(s.key)
	if near == "" {
		return fmt.Errorf("unknown key %.100q%s", s.key, s.where())
	}
	return fmt.Errorf("unknown key %q%s: did you mean %q?", s.key, s.where(), near)
}

// nearest is the known key that takes the fewest edits to get to, or the one of that name in some block; empty if
// everything known is too far away to be meant.
func (k *keys) nearest(name string) string {
	if len(name) > 100 {
		return ""
	}
	best, fewest := "", max(2, len(name)/4)+1
	try := func(known string) {
		if max(len(name), len(known))-min(len(name), len(known)) >= fewest && !strings.HasSuffix(known, "."+name) {
			return
		}
		d := Edits(strings.ToLower(name), known)
		if strings.HasSuffix(known, "."+name) {
			d = 1
		}
		if d < fewest || d == fewest && best != "" && known < best { // the same answer whatever the map's order
			best, fewest = known, d
		}
	}
	for known, l := range k.byName {
		if l.status != renamed {
			try(known)
		}
	}
	for block := range k.blocks {
		try(block)
	}
	return best
}

// Edits counts the bytes to insert, drop or replace on the way from a to b (Levenshtein).
func Edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
