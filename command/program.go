package command

import (
	"cmp"
	"os"
	"os/exec"
	"strings"
)

// shellFlag adds -shell to a verb that runs a command line.
func (v *verb) shellFlag() *bool {
	return v.flags.Bool("shell", true, "Let $SHELL, else /bin/sh, run the words of COMMAND joined by spaces; =false runs them as they are.")
}

// program is the process that a command line stands for, with more in its
// environment. It reads nothing, and writes where we write.
func (s *shell) program(words []string, byShell bool, env ...string) *exec.Cmd {
	if byShell {
		words = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh"), "-c", strings.Join(words, " ")}
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	return cmd
}
