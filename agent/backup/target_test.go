package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"praetor/agent/backup"
	"praetor/structs"
	"praetor/testutil/s3"
)

// credentials is a file with an access key for the S3 server of the tests.
func credentials(t testing.TB, secret string) string {
	t.Helper()
	return file(t, fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s3.AccessKey, secret))
}

func file(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func mustOpen(t testing.TB, url string, o backup.Options) backup.Target {
	t.Helper()
	target, err := backup.Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// eachTarget runs a test against a directory and against S3, which both are
// empty and there.
func eachTarget(t *testing.T, test func(t *testing.T, target backup.Target)) {
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		test(t, mustOpen(t, "file://"+filepath.Join(t.TempDir(), "new"), backup.Options{}))
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		server := s3.New(t, "backups")
		test(t, mustOpen(t, server.URL("prod/dc1"), backup.Options{CredentialsFile: credentials(t, s3.SecretKey)}))
		if n := server.Unfinished(); n > 0 {
			t.Errorf("%d uploads were left unfinished", n)
		}
		for _, key := range server.Keys() {
			if !strings.HasPrefix(key, "prod/dc1/") {
				t.Errorf("%s is outside of the prefix", key)
			}
		}
	})
}

func put(t testing.TB, target backup.Target, name, text string) {
	t.Helper()
	if err := target.Put(t.Context(), name, strings.NewReader(text)); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

func get(target backup.Target, name string) (string, error) {
	body, err := target.Get(context.Background(), name)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	return string(text), err
}

func names(t testing.TB, target backup.Target, prefix string) (names []string) {
	t.Helper()
	objects, err := target.List(t.Context(), prefix)
	if err != nil {
		t.Fatalf("list %q: %v", prefix, err)
	}
	for _, o := range objects {
		names = append(names, o.Name)
	}
	return names
}

func TestTarget(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, target backup.Target) {
		if got := names(t, target, ""); got != nil {
			t.Errorf("a new target holds %q", got)
		}
		put(t, target, "snap/2.snap", "two")
		put(t, target, "snap/1.snap", "old")
		put(t, target, "snap/1.snap", "one")
		put(t, target, "log/1.seg", "")
		var want []string
		for i := range 25 { // more than one page of a listing
			name := fmt.Sprintf("more/%02d", i)
			put(t, target, name, name)
			want = append(want, name)
		}
		if diff := cmp.Diff(want, names(t, target, "more/")); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"snap/1.snap", "snap/2.snap"}, names(t, target, "snap/")); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
		if text, err := get(target, "snap/1.snap"); text != "one" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
		if text, err := get(target, "log/1.seg"); text != "" || err != nil {
			t.Errorf("empty: got %q, %v", text, err)
		}
		for range 2 {
			if err := target.Delete(t.Context(), "snap/1.snap"); err != nil {
				t.Errorf("delete: %v", err)
			}
		}
		if _, err := get(target, "snap/1.snap"); !structs.IsCode(err, structs.NotFound) {
			t.Errorf("deleted: got %v", err)
		}
	})
}

// A name is there whole or not at all.
func TestPutIsAllOrNothing(t *testing.T) {
	t.Parallel()
	eachTarget(t, func(t *testing.T, target backup.Target) {
		cut := errors.New("cut")
		long := bytes.Repeat([]byte("x"), 17<<20) // more than one part of an upload
		if err := target.Put(t.Context(), "snap/1", io.MultiReader(bytes.NewReader(long), iotest.ErrReader(cut))); !errors.Is(err, cut) {
			t.Errorf("got %v, want the reader's error", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stops := readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
		if err := target.Put(ctx, "snap/2", stops); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was given up", err)
		}
		if got := names(t, target, ""); got != nil {
			t.Errorf("there is %q", got)
		}
		for _, size := range []int{0, 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 16 << 20, len(long)} {
			if err := target.Put(t.Context(), "snap/3", bytes.NewReader(long[:size])); err != nil {
				t.Fatal(err)
			}
			if text, err := get(target, "snap/3"); text != string(long[:size]) || err != nil {
				t.Errorf("got %d bytes, %v, want %d", len(text), err, size)
			}
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Nothing of a target's name leads out of a directory.
func TestDirectoryStaysInside(t *testing.T) {
	t.Parallel()
	target := mustOpen(t, t.TempDir(), backup.Options{})
	for _, name := range []string{"../x", "/x", "a/../../x", "", "a//b", "."} {
		if err := target.Put(t.Context(), name, strings.NewReader("x")); !structs.IsCode(err, structs.Invalid) {
			t.Errorf("put %q: got %v", name, err)
		}
	}
}

// What an operator has to mend is said in words.
func TestS3Trouble(t *testing.T) {
	t.Parallel()
	server := s3.New(t, "backups")
	for _, tt := range []struct{ name, url, secret, want string }{
		{"no bucket", server.URLOf("other", ""), s3.SecretKey, "there is no bucket other"},
		{"wrong key", server.URL(""), "wrong", "refuses the access key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := mustOpen(t, tt.url, backup.Options{CredentialsFile: credentials(t, tt.secret)})
			_, err := target.List(t.Context(), "snap/")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("list: got %v, want %q", err, tt.want)
			}
			err = target.Put(t.Context(), "snap/x", strings.NewReader("x"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("put: got %v, want %q", err, tt.want)
			}
			if _, err = get(target, "snap/x"); err == nil || structs.IsCode(err, structs.NotFound) {
				t.Errorf("get: got %v, want another error than that it is not there", err)
			}
		})
	}
	full := mustOpen(t, server.URL(""), backup.Options{CredentialsFile: credentials(t, s3.SecretKey)})
	server.Fail(func(r *http.Request) int {
		if r.Method == http.MethodPut {
			return http.StatusInsufficientStorage
		}
		return 0
	})
	if err := full.Put(t.Context(), "snap/x", strings.NewReader("x")); err == nil {
		t.Error("put onto a full disk: got no error")
	}
	if got := names(t, full, ""); got != nil {
		t.Errorf("there is %q", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		url string
		o   backup.Options
	}{
		{"", backup.Options{}},
		{"ftp://host/dir", backup.Options{}},
		{"file://host/dir", backup.Options{}},
		{"s3:///prefix", backup.Options{}},
		{"s3://bucket/prefix?acl=public", backup.Options{}},
		{"s3://bucket?endpoint=ftp://x", backup.Options{}},
		{"s3://user:secret@bucket", backup.Options{}},
		{"s3://us er:secret@bucket", backup.Options{}},
		{"/tmp", backup.Options{Recipients: []string{"age1nonsense"}}},
		{"/tmp", backup.Options{IdentityFile: "/does/not/exist"}},
		{"/tmp", backup.Options{IdentityFile: file(t, "nonsense")}},
		{"/tmp", backup.Options{PassphraseFile: file(t, "\n")}},
		{"/tmp", backup.Options{PassphraseFile: file(t, "a"), Recipients: []string{key.Recipient().String()}}},
	} {
		if _, err := backup.Open(tt.url, tt.o); err == nil {
			t.Errorf("%s %+v: got no error", tt.url, tt.o)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the secret: %v", tt.url, err)
		}
	}
}
