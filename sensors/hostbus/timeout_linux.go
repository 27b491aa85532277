package hostbus

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// i2cTimeout is I2C_TIMEOUT of linux/i2c-dev.h: the adapter's time-out in units of
// 10 ms, "for historical reasons" (drivers/i2c/i2c-dev.c).
const i2cTimeout = 0x0702

func setI2CTimeout(f *os.File, d time.Duration) error {
	return unix.IoctlSetInt(int(f.Fd()), i2cTimeout, int(max(1, d/(10*time.Millisecond))))
}
