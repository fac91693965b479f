package backup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"praetor/agent/backup"
	"praetor/structs"
)

func identity(t testing.TB) (file_, recipient string) {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "# made for a test\n"+key.String()+"\n"), key.Recipient().String()
}

func hybrid(t testing.TB) (file_, recipient string) {
	t.Helper()
	key, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return file(t, key.String()+"\n"), key.Recipient().String()
}

const secret = "the content of a backup, which nobody else shall read"

func TestSeal(t *testing.T) {
	t.Parallel()
	private, public := identity(t)
	otherPrivate, _ := identity(t)
	hybridPrivate, hybridPublic := hybrid(t)
	phrase, otherPhrase := file(t, "correct horse battery staple\n"), file(t, "tr0ub4dor\n")
	for _, tt := range []struct {
		name               string
		seal, opens, fails backup.Options
	}{
		{"recipient", backup.Options{Recipients: []string{public}}, backup.Options{IdentityFile: private}, backup.Options{IdentityFile: otherPrivate}},
		{"identity", backup.Options{IdentityFile: private}, backup.Options{IdentityFile: private}, backup.Options{PassphraseFile: phrase}},
		{"hybrid", backup.Options{Recipients: []string{hybridPublic}}, backup.Options{IdentityFile: hybridPrivate}, backup.Options{IdentityFile: private}},
		{"passphrase", backup.Options{PassphraseFile: phrase}, backup.Options{PassphraseFile: phrase}, backup.Options{PassphraseFile: otherPhrase}},
		{"no key", backup.Options{Recipients: []string{public}}, backup.Options{IdentityFile: private}, backup.Options{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writer := mustOpen(t, dir, tt.seal)
			put(t, writer, "snap/1.snap", secret)
			put(t, writer, "snap/1.json", "{}")
			stored, err := os.ReadFile(filepath.Join(dir, "snap", "1.snap.age"))
			if err != nil || strings.Contains(string(stored), "nobody") {
				t.Fatalf("stored: %q, %v", stored, err)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "snap", "1.json")); string(text) != "{}" {
				t.Errorf("the record is not readable: %q, %v", text, err)
			}
			// Whoever wrote it can verify it, even with public keys alone.
			for name, o := range map[string]backup.Target{"writer": writer, "reader": mustOpen(t, dir, tt.opens)} {
				if text, err := get(o, "snap/1.snap"); text != secret || err != nil {
					t.Errorf("%s: got %q, %v", name, text, err)
				}
				if got := names(t, o, "snap/"); len(got) != 2 || got[1] != "snap/1.snap" {
					t.Errorf("%s: list: got %q", name, got)
				}
			}
			if _, err := get(mustOpen(t, dir, tt.fails), "snap/1.snap"); !structs.IsCode(err, structs.Invalid) {
				t.Errorf("wrong key: got %v", err)
			}
			if err := writer.Delete(t.Context(), "snap/1.snap"); err != nil {
				t.Error(err)
			}
			if got := names(t, writer, ""); len(got) != 1 {
				t.Errorf("after deleting: %q", got)
			}
		})
	}
}

// Every byte of what is sealed counts.
func TestSealedDamage(t *testing.T) {
	t.Parallel()
	private, _ := identity(t)
	dir := t.TempDir()
	target := mustOpen(t, dir, backup.Options{IdentityFile: private})
	put(t, target, "x", secret)
	path := filepath.Join(dir, "x.age")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, at int, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if text, err := get(target, "x"); err == nil || text == secret && at < len(whole)-1 {
			t.Errorf("%s at %d: got %q, %v", what, at, text, err)
		}
	}
	for i := range whole {
		damaged := []byte(string(whole))
		damaged[i] ^= 1
		check("a flipped bit", i, damaged)
		check("cut", i, whole[:i])
	}
}

// Backups of before they were sealed stay readable.
func TestSealingBeginsLater(t *testing.T) {
	t.Parallel()
	private, _ := identity(t)
	dir := t.TempDir()
	put(t, mustOpen(t, dir, backup.Options{}), "snap/1.snap", "plain")
	target := mustOpen(t, dir, backup.Options{IdentityFile: private})
	put(t, target, "snap/2.snap", "sealed")
	for name, want := range map[string]string{"snap/1.snap": "plain", "snap/2.snap": "sealed"} {
		if text, err := get(target, name); text != want || err != nil {
			t.Errorf("%s: got %q, %v", name, text, err)
		}
	}
}
