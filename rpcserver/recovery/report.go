package recovery

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"

	"praetor/structs"
)

// report is what goes from machine to machine.
type report struct {
	Format    int // 1
	Survivors []*Survivor
}

// WriteReport writes what is known of survivors as JSON.
func WriteReport(w io.Writer, survivors []*Survivor) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(report{1, survivors})
}

// ReadAll reads data directories, and reports of such on other machines. What
// it returns is to be closed.
func ReadAll(paths []string) (survivors []*Survivor, err error) {
	defer func() {
		if err != nil {
			CloseAll(survivors)
			survivors = nil
		}
	}()
	for i, path := range paths {
		if slices.ContainsFunc(paths[:i], func(other string) bool { return filepath.Clean(other) == filepath.Clean(path) }) {
			return survivors, structs.Errorf(structs.Invalid, "%s is named twice", path)
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			remote, err := readReport(path)
			if err != nil {
				return survivors, err
			}
			survivors = append(survivors, remote...)
			continue
		}
		s, err := Read(path)
		if err != nil {
			return survivors, err
		}
		survivors = append(survivors, s)
	}
	return survivors, nil
}

func readReport(file string) ([]*Survivor, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil || r.Format != 1 || len(r.Survivors) == 0 {
		return nil, structs.Errorf(structs.Invalid, "%s is neither a data directory nor a report that \"praetor operator recover -report\" has written", file)
	}
	return r.Survivors, nil
}

// CloseAll closes them.
func CloseAll(survivors []*Survivor) {
	for _, s := range survivors {
		s.Close()
	}
}
