package infer

// rank returns the largest contributions of the last window with their shares,
// at most MaxReasons and none that adds nothing. A feature that lowers the
// score counts as zero.
func (d *Detector) rank() []Reason {
	sum, n := 0.0, 0
	var top [MaxReasons]int
	for i, c := range d.contributions {
		if !(c > 0) {
			continue
		}
		sum += c
		at := n
		for at > 0 && d.contributions[top[at-1]] < c {
			at--
		}
		if at == MaxReasons {
			continue
		}
		n = min(n+1, MaxReasons)
		copy(top[at+1:n], top[at:n-1])
		top[at] = i
	}
	for k, i := range top[:n] {
		d.reasons[k] = Reason{Feature: d.names[i], Share: d.contributions[i] / sum}
	}
	return d.reasons[:n]
}
