package command

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

func keygen(v *verb) {
	v.help = help{`
Prints a new random key for "encrypt" in the configuration, which all members of a cluster must share.`,
		[]string{`keygen`, `agent -server -encrypt="$(praetor keygen)"    # and the same key on all others`},
	}
	v.run = func([]string) error {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		_, err := fmt.Fprintln(v.stdout, base64.StdEncoding.EncodeToString(key))
		return err
	}
}
