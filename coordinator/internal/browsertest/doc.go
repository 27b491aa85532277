// Package browsertest drives a real, headless Chromium in tests. It exists only
// with the build tag system.
package browsertest
