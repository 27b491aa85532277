package fleet

// Quality is how right alarms were, by the labels that arrived.
type Quality struct {
	TruePositives  uint64  `json:"true_positives"` // labelled faults that had an alarm, and alarms called right
	FalsePositives uint64  `json:"false_positives"`
	FalseNegatives uint64  `json:"false_negatives"` // failures and faults without an alarm
	Hours          float64 `json:"hours"`           // watched, the machine running
}

// VersionQuality is how right the alarms of one model were.
type VersionQuality struct {
	Job          string `json:"job"`
	ModelVersion uint64 `json:"model_version"` // 0: the machine's own
	Quality
}

// Add adds what is known of other machines.
func (q *Quality) Add(o Quality) {
	q.TruePositives += o.TruePositives
	q.FalsePositives += o.FalsePositives
	q.FalseNegatives += o.FalseNegatives
	q.Hours += o.Hours
}

// Precision is the share of judged alarms that were right; ok is false without any.
func (q Quality) Precision() (p float64, ok bool) {
	return share(q.TruePositives, q.TruePositives+q.FalsePositives)
}

// Recall is the share of labelled failures and faults that had an alarm; ok is false
// without any.
func (q Quality) Recall() (r float64, ok bool) {
	return share(q.TruePositives, q.TruePositives+q.FalseNegatives)
}

// FalseAlarms is how many false alarms a machine raises in 30 days of being watched; ok
// is false before a day.
func (q Quality) FalseAlarms() (perMonth float64, ok bool) {
	if q.Hours < 24 {
		return 0, false
	}
	return float64(q.FalsePositives) * 30 * 24 / q.Hours, true
}

func share(part, of uint64) (float64, bool) {
	if of == 0 {
		return 0, false
	}
	return float64(part) / float64(of), true
}

// ByModel adds up the quality of each model over all machines, also of gateways that are
// not connected.
func ByModel(gateways []Gateway) map[Version]Quality {
	sum := map[Version]Quality{}
	for _, g := range gateways {
		for _, m := range g.Machines {
			for _, v := range m.Versions {
				id := Version{v.Job, v.ModelVersion}
				q := sum[id]
				q.Add(v.Quality)
				sum[id] = q
			}
		}
	}
	return sum
}

// Version names a version of a job's global model.
type Version struct {
	Job     string
	Version uint64
}
