package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The as functions read a value as HCL, JSON or a flag gave it. As in Consul a list of one stands for its element, since
// HCL writes blocks that way; apart from that a kind is never guessed from text.

func asText(v any) (string, bool) {
	s, ok := single(v).(string)
	return s, ok
}

func asBool(v any) (bool, bool) {
	b, ok := single(v).(bool)
	return b, ok
}

func asInt(v any) (int, bool) {
	switch n := single(v).(type) {
	case int64:
		return int(n), int64(int(n)) == n
	case json.Number:
		if i, err := strconv.Atoi(n.String()); err == nil {
			return i, true
		}
		f, err := n.Float64()
		return int(f), err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53
	}
	return 0, false
}

func asDuration(v any) (time.Duration, bool) {
	s, ok := asText(v)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

func asList(v any) ([]string, bool) {
	items, ok := v.([]any)
	var texts []string
	for _, item := range items {
		s, isText := item.(string)
		texts, ok = append(texts, s), ok && isText
	}
	return texts, ok
}

func asPairs(v any) (map[string]string, bool) {
	block, ok := single(v).(map[string]any)
	texts := map[string]string{}
	for k, item := range block {
		s, isText := asText(item)
		texts[k], ok = s, ok && isText
	}
	return texts, ok
}

// asBlocks reads a block, or a list of blocks, which mean the same as one after the other.
func asBlocks(v any) ([]map[string]any, bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case map[string]any:
		return []map[string]any{v}, true
	case []any:
		var blocks []map[string]any
		for _, item := range v {
			block, ok := item.(map[string]any)
			if !ok {
				return nil, false
			}
			blocks = append(blocks, block)
		}
		return blocks, true
	}
	return nil, false
}

func single(v any) any {
	if l, ok := v.([]any); ok && len(l) == 1 {
		return l[0]
	}
	return v
}

// show describes a value of the wrong kind. The one secret of the table (encrypt) is text where text is right, and so
// never gets here.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.60q", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a block"
	}
	return fmt.Sprint(v)
}

// asksNothing reports whether a value for a key without effect asks for nothing: empty, off, or a block of such.
func asksNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == "" || v == "false" || v == "disabled" || v == "0" || v == "-1"
	case int64, float64, json.Number:
		n := fmt.Sprint(v)
		return n == "0" || n == "-1"
	case []any:
		for _, item := range v {
			if !asksNothing(item) {
				return false
			}
		}
		return true
	case map[string]any:
		if v["enabled"] == false {
			return true
		}
		for _, item := range v {
			if !asksNothing(item) {
				return false
			}
		}
		return true
	}
	return false
}

// fromText reads the text of a flag as the kind of value that the line wants.
func (l line) fromText(s string) (any, error) {
	switch l.to.(type) {
	case *bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return nil, errors.New("expected true or false")
		}
		return b, nil
	case *int:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, errors.New("expected a whole number")
		}
		return n, nil
	case *map[string]string:
		k, v, ok := strings.Cut(s, ":")
		if !ok || k == "" {
			return nil, errors.New("expected key:value")
		}
		return map[string]any{k: v}, nil
	}
	if l.adds {
		return []any{s}, nil
	}
	return s, nil
}
