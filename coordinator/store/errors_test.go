package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
)

func TestErrors_NameThePlace(t *testing.T) {
	cause := errors.New("chunk 3 is short")
	for want, err := range map[string]error{
		`record "a" is at revision 2, not 1: it changed meanwhile`:                     &store.ConflictError{Key: "a", Got: 2, Want: 1},
		`record "a" has 5 bytes, at most 4 are allowed: store it as a blob`:            &store.SizeError{Key: "a", Got: 5, Max: 4},
		`read blob ab from offset 9: it ends at 8`:                                     &store.OffsetError{SHA256: "ab", Offset: 9, Size: 8},
		`blob ab in store "x" is damaged: chunk 3 is short (restore it from a backup)`: &store.CorruptError{Place: `blob ab in store "x"`, Mend: "restore it from a backup", Err: cause},
		`store "x" is damaged`:                                       &store.CorruptError{Place: `store "x"`},
		`record key "a b" is not allowed: byte 1 is ' '`:             store.CheckKey("a b"),
		`record key "a/" is not allowed: it begins or ends with '/'`: store.CheckKey("a/"),
		`record key "" is not allowed: it is empty`:                  store.CheckKey(""),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("error is %q, want %q", err, want)
		}
	}
	if err := (&store.CorruptError{Err: cause}); !errors.Is(err, cause) {
		t.Error("the cause of a CorruptError cannot be found")
	}
	if err := store.CheckKey(strings.Repeat("k", store.MaxKeyBytes)); err != nil {
		t.Error(err)
	}
}
