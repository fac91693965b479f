package rpcserver

import (
	"errors"
	"os"
	"path/filepath"
)

// writeDurable puts text into a file so that a crash or a loss of power leaves
// the old file or the new one, and once it has returned the new one.
func writeDurable(name string, text []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new-*") // readable by its owner alone
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
