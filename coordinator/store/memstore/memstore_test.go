package memstore_test

import (
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/coordinator/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Subject{Open: func(*testing.T) store.Store { return memstore.New() }})
}
