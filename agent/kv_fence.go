package agent

import (
	"strconv"
	"strings"
	"time"

	"praetor/structs"
)

// parseFence reads <key>:<lockindex>. Keys may have colons in them, the index
// has none.
func parseFence(text string) (*structs.Fence, error) {
	i := strings.LastIndexByte(text, ':')
	if i > 0 {
		if index, err := strconv.ParseUint(text[i+1:], 10, 64); err == nil {
			return &structs.Fence{Key: text[:i], LockIndex: index}, nil
		}
	}
	return nil, badRequest("Invalid fence %q: it is the key of a lock, a colon and its LockIndex", text)
}

func parseTTL(text string) (time.Duration, error) {
	ttl, err := time.ParseDuration(text)
	if err != nil {
		return 0, badRequest("Invalid ttl %q: it is a duration such as 30s", text)
	}
	if ttl == 0 {
		return 0, badRequest("Invalid ttl %q: leave it out for a key that stays", text)
	}
	if err := structs.CheckKeyTTL(ttl); err != nil {
		return 0, badRequest("%v", err)
	}
	return ttl, nil
}
