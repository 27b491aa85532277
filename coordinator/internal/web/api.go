package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// tokenCommand is what a person types to admit a gateway.
const tokenCommand = "millwright-coordinator token create"

// apiPaths is what an unknown address is answered with.
const apiPaths = "/api/v1/fleet, /gateways, /jobs, /rounds, /models, /alarms, /drift, /snapshot and /models/JOB/VERSION.safetensors"

// routeAPI adds the addresses below /api/. Every answer is the newest state;
// lists come as {"at": time, NAME: [...]} with the fields of package fleet.
func (h *handler) routeAPI(mux *http.ServeMux) {
	serve := func(name string, pick func(s *fleet.Snapshot) any) {
		mux.HandleFunc("/api/v1/"+name, func(w http.ResponseWriter, r *http.Request) {
			s := h.snapshot()
			h.writeJSON(w, r, pick(&s))
		})
	}
	list := func(name string, pick func(s *fleet.Snapshot) any) {
		serve(name, func(s *fleet.Snapshot) any { return map[string]any{"at": s.At, name: pick(s)} })
	}
	serve("snapshot", func(s *fleet.Snapshot) any { return s })
	serve("fleet", func(s *fleet.Snapshot) any { return summarise(s) })
	list("gateways", func(s *fleet.Snapshot) any { return s.Gateways })
	list("jobs", func(s *fleet.Snapshot) any { return s.Jobs })
	list("rounds", func(s *fleet.Snapshot) any { return s.Rounds })
	list("models", func(s *fleet.Snapshot) any { return s.Models })
	list("alarms", func(s *fleet.Snapshot) any { return s.Alarms })
	list("drift", func(s *fleet.Snapshot) any { return s.Drift })
	mux.HandleFunc("/api/v1/models/{job}/{file}", h.download)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "there is nothing at "+r.URL.Path, "ask for one of "+apiPaths)
	})
}

// download answers a committed global model as a safetensors file. It never
// changes under its version unless the store does, which the ETag (its SHA-256) tells.
func (h *handler) download(w http.ResponseWriter, r *http.Request) {
	job, file := r.PathValue("job"), r.PathValue("file")
	digits, ok := strings.CutSuffix(file, ".safetensors")
	version, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		writeError(w, http.StatusNotFound, "there is no file "+strconv.Quote(file)+" of job "+strconv.Quote(job),
			"name a version, such as /api/v1/models/"+job+"/1.safetensors; /api/v1/models lists them")
		return
	}
	blob, ok, err := h.viewer.ModelBlob(job, version)
	if err != nil {
		h.log.Error("read model for download", "job", job, "version", version, "error", err)
		writeError(w, http.StatusInternalServerError, "the model could not be read from the store",
			"see the coordinator's log and check its data directory")
		return
	}
	if !ok {
		writeError(w, http.StatusNotFound, "job "+strconv.Quote(job)+" has no model version "+digits,
			"/api/v1/models lists the versions there are")
		return
	}
	sum := sha256.Sum256(blob)
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": job + "-v" + digits + ".safetensors"}))
	head.Set("Cache-Control", "no-cache")
	head.Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}

func (h *handler) writeJSON(w http.ResponseWriter, r *http.Request, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		h.log.Error("encode answer", "path", r.URL.Path, "error", err)
		writeError(w, http.StatusInternalServerError, "the answer could not be written as JSON", "see the coordinator's log")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n')) // an error here means that the reader left
}

// apiError is the body of every answer that is not a success.
type apiError struct {
	Error struct {
		Status  int    `json:"status"`
		Message string `json:"message"` // what is wrong
		Mend    string `json:"mend"`    // what to do about it
	} `json:"error"`
}

func writeError(w http.ResponseWriter, status int, message, mend string) {
	var body apiError
	body.Error.Status, body.Error.Message, body.Error.Mend = status, message, mend
	data, err := json.Marshal(body)
	if err != nil { // two strings and a number always encode
		data = []byte(`{"error":{}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n'))
}
