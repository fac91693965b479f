package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"praetor/command"
)

func TestValuesGoInAndOutByteForByte(t *testing.T) {
	newFake(t)
	value := "\x00\xff\r\n\t\x1b[0m\n"
	if code := command.Run([]string{"kv", "put", "bin", "-"}, strings.NewReader(value), io.Discard, io.Discard); code != 0 {
		t.Fatal("put: exit code", code)
	}
	for _, args := range [][]string{{"kv", "get", "bin"}, {"kv", "get", "-recurse", "bin"}, {"kv", "get", "-detailed", "bin"}} {
		var out bytes.Buffer
		if code := command.Run(args, nil, &out, io.Discard); code != 0 || !strings.HasSuffix(out.String(), value+"\n") {
			t.Errorf("%v: exit code %d, %q", args, code, out.String())
		}
	}
	var out bytes.Buffer
	if code := command.Run([]string{"kv", "export"}, nil, &out, io.Discard); code != 0 {
		t.Fatal("export: exit code", code)
	}
	if code := command.Run([]string{"kv", "import", "-prefix=copy", "-"}, &out, io.Discard, io.Discard); code != 0 {
		t.Fatal("import: exit code", code)
	}
	var copied bytes.Buffer
	if command.Run([]string{"kv", "get", "copy/bin"}, nil, &copied, io.Discard); copied.String() != value+"\n" {
		t.Errorf("%q", copied.String())
	}
}

func TestImportKeepsTheOrderOfTheData(t *testing.T) {
	f := newFake(t)
	type entry struct {
		Key   string `json:"key"`
		Value []byte `json:"value"`
	}
	var data []entry
	var want strings.Builder
	for i := range 500 {
		e := entry{fmt.Sprintf("k%d", i%100), fmt.Append(nil, i)} // the last of five values wins
		data = append(data, e)
		fmt.Fprintf(&want, "Imported: %s\n", e.Key)
	}
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := command.Run([]string{"kv", "import", "-"}, bytes.NewReader(text), &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, errs.String())
	}
	if out.String() != want.String() {
		t.Error("lines are missing or not in the order of the data")
	}
	for i := range 100 {
		if got := string(f.pairs[fmt.Sprintf("k%d", i)].Value); got != fmt.Sprint(400+i) {
			t.Errorf("k%d is %s", i, got)
		}
	}
}

func TestImportStopsAtTheFirstError(t *testing.T) {
	f := newFake(t)
	f.refuse = func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/k50") {
			return http.StatusRequestEntityTooLarge, "too large"
		}
		return 0, ""
	}
	var data []string
	for i := range 200 {
		data = append(data, fmt.Sprintf(`{"key":"k%d","value":"MQ=="}`, i))
	}
	var out, errs bytes.Buffer
	code := command.Run([]string{"kv", "import", "[" + strings.Join(data, ",") + "]"}, nil, &out, &errs)
	n := strings.Count(out.String(), "\n")
	if n != len(f.pairs) || n < 50 || n > 50+16 {
		t.Errorf("%d keys reported, %d written", n, len(f.pairs))
	}
	want := fmt.Sprintf("Stopped after importing %d keys.\nError importing \"k50\": Unexpected response code: 413 (too large)\n", n)
	if code != 1 || errs.String() != want {
		t.Errorf("exit code %d, stderr %q, want %q", code, errs.String(), want)
	}
}

func TestSnapshotSaveKeepsTheOldFileUntilTheNewOneIsProven(t *testing.T) {
	f := newFake(t)
	workspace(t)
	good := f.snapshot
	save := func() string { return run(t, "snapshot", "save", "b.snap") }
	if out := save(); out != "Saved and verified snapshot to index 413\n" {
		t.Fatal(out)
	}
	if info, err := os.Stat("b.snap"); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}

	f.snapshot = good[:40000]
	if out := save(); !strings.Contains(out, "kept as b.snap.unverified") || !strings.HasSuffix(out, "(exit 1)\n") {
		t.Error(out)
	}
	f.refuse = func(*http.Request) (int, string) { return 500, "No cluster leader" }
	if out := save(); out != "! Error saving snapshot: Unexpected response code: 500 (No cluster leader)\n(exit 1)\n" {
		t.Error(out)
	}
	if _, err := os.Stat("b.snap.unverified"); !os.IsNotExist(err) {
		t.Error("a download that failed stayed:", err)
	}
	if kept, err := os.ReadFile("b.snap"); err != nil || !bytes.Equal(kept, good) {
		t.Error("the old snapshot is gone", err)
	}
}

func TestSnapshotRestoreSendsOnlySoundFiles(t *testing.T) {
	f := newFake(t)
	workspace(t)
	run(t, "snapshot", "restore", "flipped.snap")
	run(t, "snapshot", "restore", "cut.snap")
	if len(f.log) != 0 {
		t.Error("a damaged file reached the server:", f.log)
	}
	if out := run(t, "snapshot", "restore", "consul.snap"); out != "Restored snapshot\n" || !bytes.Equal(f.restored, f.snapshot) {
		t.Error(out)
	}
}

func TestSnapshotDecode(t *testing.T) {
	workspace(t)
	var out bytes.Buffer
	if code := command.Run([]string{"snapshot", "decode", "consul.snap"}, nil, &out, io.Discard); code != 0 {
		t.Fatal("exit code", code)
	}
	kinds, binary := map[string]int{}, 0
	for line := range strings.Lines(out.String()) {
		var rec struct {
			Type string
			Data map[string]any
		}
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			t.Fatal(line, err)
		}
		kinds[rec.Type]++
		if value, ok := rec.Data["Value"].(map[string]any); ok && value["base64"] != nil {
			binary++
		}
	}
	if kinds["SnapshotHeader"] != 1 || kinds["KVS"] != 285 || kinds["Session"] != 4 || binary == 0 {
		t.Errorf("%v, %d binary values", kinds, binary)
	}
	if !strings.HasPrefix(out.String(), `{"Data":{"LastIndex":412},"Type":"SnapshotHeader"}`) {
		t.Errorf("%.100s", out.String())
	}
}
