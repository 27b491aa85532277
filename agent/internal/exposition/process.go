package exposition

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// The metrics that Prometheus's own libraries have of a Go process, under their names.
var (
	descGoroutines = &Desc{Name: "go_goroutines", Help: "Number of goroutines that currently exist."}
	descInfo       = &Desc{Name: "go_info", Help: "Information about the Go environment.", Labels: []string{"version"}}
	descHeap       = &Desc{Name: "go_memstats_heap_alloc_bytes", Help: "Bytes of live and not yet collected heap objects."}
	descGC         = &Desc{Name: "go_gc_cycles_total", Help: "Garbage collections."}
	descCPU        = &Desc{Name: "process_cpu_seconds_total", Help: "Total user and system CPU time spent in seconds."}
	descRSS        = &Desc{Name: "process_resident_memory_bytes", Help: "Resident memory size in bytes."}
	descFiles      = &Desc{Name: "process_open_fds", Help: "Number of open file descriptors."}
	descStart      = &Desc{Name: "process_start_time_seconds", Help: "Start time of the process since unix epoch in seconds."}
)

var began = time.Now()

// Process adds the metrics of this process; those of the kernel only where it has /proc.
func Process(s *Set) {
	s.Add(descGoroutines, Gauge, float64(runtime.NumGoroutine()))
	s.Add(descInfo, Gauge, 1, runtime.Version())
	s.Add(descStart, Gauge, float64(began.UnixMilli())/1000)
	list := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(list)
	for i, d := range []*Desc{descHeap, descGC} {
		if list[i].Value.Kind() == metrics.KindUint64 {
			s.Add(d, []Kind{Gauge, Counter}[i], float64(list[i].Value.Uint64()))
		}
	}
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold blanks
		if f := strings.Fields(rest); len(f) > 21 {
			user, err1 := strconv.ParseFloat(f[11], 64)
			system, err2 := strconv.ParseFloat(f[12], 64)
			if err1 == nil && err2 == nil {
				s.Add(descCPU, Counter, (user+system)/100) // USER_HZ, fixed by the kernel's interface
			}
			if pages, err := strconv.ParseFloat(f[21], 64); err == nil {
				s.Add(descRSS, Gauge, pages*float64(os.Getpagesize()))
			}
		}
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.Add(descFiles, Gauge, float64(len(files)))
	}
}
