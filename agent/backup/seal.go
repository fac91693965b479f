package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"praetor/structs"
)

// sealedEnding ends the name of what is encrypted. Any age program opens it.
const sealedEnding = ".age"

// scryptWork is 32 MiB and a tenth of a second for each file, in place of age's
// 256 MiB and a second: a server must not stall for it. A passphrase in a file
// can be as long as it takes.
const scryptWork = 15

// keys are what is sealed for and opened with. Either may be empty.
type keys struct {
	recipients []age.Recipient
	identities []age.Identity
}

func readKeys(o Options) (keys, error) {
	var k keys
	if o.PassphraseFile != "" {
		if len(o.Recipients) > 0 || o.IdentityFile != "" {
			return k, structs.Errorf(structs.Invalid, "a backup is sealed with a passphrase or for recipients, not both")
		}
		return passphrase(o.PassphraseFile)
	}
	if o.IdentityFile != "" {
		text, err := os.ReadFile(o.IdentityFile)
		if err != nil {
			return k, fmt.Errorf("backup identity file: %w", err)
		}
		if k.identities, err = age.ParseIdentities(bytes.NewReader(text)); err != nil {
			return k, structs.Errorf(structs.Invalid, "backup identity file %s: %v", o.IdentityFile, err)
		}
	}
	for _, text := range o.Recipients {
		recipients, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return k, structs.Errorf(structs.Invalid, "backup recipient %q is not an age public key: %v", text, err)
		}
		k.recipients = append(k.recipients, recipients...)
	}
	if len(k.recipients) == 0 {
		for _, identity := range k.identities {
			switch i := identity.(type) {
			case *age.X25519Identity:
				k.recipients = append(k.recipients, i.Recipient())
			case *age.HybridIdentity:
				k.recipients = append(k.recipients, i.Recipient())
			}
		}
	}
	return k, k.addOwn()
}

func passphrase(file string) (keys, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return keys{}, fmt.Errorf("backup passphrase file: %w", err)
	}
	phrase := strings.TrimRight(string(text), "\r\n")
	if phrase == "" {
		return keys{}, structs.Errorf(structs.Invalid, "backup passphrase file %s is empty", file)
	}
	recipient, err := age.NewScryptRecipient(phrase)
	if err != nil {
		return keys{}, err
	}
	recipient.SetWorkFactor(scryptWork)
	identity, err := age.NewScryptIdentity(phrase)
	if err != nil {
		return keys{}, err
	}
	return keys{[]age.Recipient{recipient}, []age.Identity{identity}}, nil
}

// addOwn adds a key of this process to those that are sealed for, so that a
// server that only has public keys can still read back what it has written. It
// is never stored: after a restart only the recipients can open a backup.
func (k *keys) addOwn() error {
	if len(k.recipients) == 0 {
		return nil
	}
	hybrid := false
	for _, r := range k.recipients {
		_, isHybrid := r.(*age.HybridRecipient) // age refuses to mix the two kinds
		hybrid = hybrid || isHybrid
	}
	if hybrid {
		own, err := age.GenerateHybridIdentity()
		if err != nil {
			return err
		}
		k.recipients, k.identities = append(k.recipients, own.Recipient()), append(k.identities, own)
		return nil
	}
	own, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	k.recipients, k.identities = append(k.recipients, own.Recipient()), append(k.identities, own)
	return nil
}

// sealed encrypts what goes to a target and decrypts what comes from it. Records
// (.json) stay readable: they say nothing that is in the state.
type sealed struct {
	Target
	keys keys
}

// Put seals if there is anybody to seal for.
func (s *sealed) Put(ctx context.Context, name string, r io.Reader) error {
	if len(s.keys.recipients) == 0 || strings.HasSuffix(name, recordEnding) {
		return s.Target.Put(ctx, name, r)
	}
	cipher, err := age.EncryptReader(r, s.keys.recipients...)
	if err != nil {
		return fmt.Errorf("seal %s: %w", name, err)
	}
	return s.Target.Put(ctx, name+sealedEnding, cipher)
}

// Get opens what is sealed. A plain one, of before backups were sealed, is found as well.
func (s *sealed) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if strings.HasSuffix(name, recordEnding) {
		return s.Target.Get(ctx, name)
	}
	body, err := s.Target.Get(ctx, name+sealedEnding)
	if structs.IsCode(err, structs.NotFound) {
		return s.Target.Get(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	plain, err := s.open(name, body)
	if err != nil {
		body.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, body}, nil
}

func (s *sealed) open(name string, body io.Reader) (io.Reader, error) {
	if len(s.keys.identities) == 0 {
		return nil, structs.Errorf(structs.Invalid, "%s is encrypted: give the identity file or the passphrase file that opens it", name)
	}
	source := &sourceError{r: body}
	plain, err := age.Decrypt(source, s.keys.identities...)
	switch no := (*age.NoIdentityMatchError)(nil); {
	case err == nil:
		return unsealing{plain, source, name}, nil
	case errors.As(err, &no):
		return nil, structs.Errorf(structs.Invalid, "%s is encrypted for another key or passphrase than the one given", name)
	case source.err != nil:
		return nil, source.err
	}
	return nil, structs.Errorf(structs.Corrupt, "%s is damaged: %v", name, err)
}

// unsealing tells damage from a target that fails to answer.
type unsealing struct {
	r      io.Reader
	source *sourceError
	name   string
}

// Read reads plain bytes, each of them authentic.
func (u unsealing) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if u.source.err != nil {
		return n, u.source.err
	}
	return n, structs.Errorf(structs.Corrupt, "%s is damaged: %v", u.name, err)
}

type sourceError struct {
	r   io.Reader
	err error
}

// Read remembers why the source failed.
func (s *sourceError) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// List shows names without the ending.
func (s *sealed) List(ctx context.Context, prefix string) ([]Object, error) {
	objects, err := s.Target.List(ctx, prefix)
	for i := range objects {
		objects[i].Name = strings.TrimSuffix(objects[i].Name, sealedEnding)
	}
	inOrder(objects)
	return slices.CompactFunc(objects, func(a, b Object) bool { return a.Name == b.Name }), err
}

// Delete removes both forms.
func (s *sealed) Delete(ctx context.Context, name string) error {
	if strings.HasSuffix(name, recordEnding) {
		return s.Target.Delete(ctx, name)
	}
	return errors.Join(s.Target.Delete(ctx, name+sealedEnding), s.Target.Delete(ctx, name))
}

func (s *sealed) sweep(ctx context.Context, before time.Time) error {
	if inner, ok := s.Target.(sweeper); ok {
		return inner.sweep(ctx, before)
	}
	return nil
}
