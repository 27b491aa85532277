//go:build !linux

package hostbus

import (
	"errors"
	"os"
	"time"
)

func setI2CTimeout(*os.File, time.Duration) error {
	return errors.New("buses are supported on Linux only")
}
