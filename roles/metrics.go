package roles

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sigmaos/api"
)

// startMetrics serves /metrics on a port of this machine. Procs cannot reach
// it: they have no sockets.
func startMetrics(_ context.Context, s *System) (func(context.Context) error, error) {
	if s.Config.Metrics == "" {
		return func(context.Context) error { return nil }, nil
	}
	lis, err := net.Listen("tcp", s.Config.Metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w (choose another address with --metrics, or \"\" for none)", err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &nodeCollector{s: s})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(lis)
	}()
	s.Schedd.SetMetrics(lis.Addr().String())
	return func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		<-done
		return err
	}, nil
}

var (
	descSpawned = prometheus.NewDesc("sigma_procs_spawned_total", "Spawns taken.", nil, nil)
	descEnded   = prometheus.NewDesc("sigma_procs_ended_total", "Procs with a final status.", []string{"state"}, nil)
	descQueued  = prometheus.NewDesc("sigma_procs_queued", "Procs that wait for room.", nil, nil)
	descRunning = prometheus.NewDesc("sigma_procs_running", "Procs that are placed and have not ended.", nil, nil)
	descDenied  = prometheus.NewDesc("sigma_denied_calls_total", "System calls refused to procs.", nil, nil)
	descLCCPU   = prometheus.NewDesc("sigma_reserved_cores", "CPU reserved by LC procs.", nil, nil)
	descMemory  = prometheus.NewDesc("sigma_promised_memory_bytes", "Memory promised to procs.", []string{"class"}, nil)
	descRealm   = prometheus.NewDesc("sigma_realm_cpu_seconds_total", "CPU used by a realm on this node.", []string{"realm"}, nil)
	descSlots   = prometheus.NewDesc("sigma_realm_slots", "σcontainers of a realm, idle and busy.", []string{"realm"}, nil)
)

// nodeCollector reads the schedd's own counts when Prometheus asks, so that
// nothing is counted twice and a start pays nothing.
type nodeCollector struct{ s *System }

func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSpawned, descEnded, descQueued, descRunning, descDenied, descLCCPU, descMemory, descRealm, descSlots} {
		ch <- d
	}
}

func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	t := c.s.Schedd.Totals()
	put(descSpawned, prometheus.CounterValue, float64(t.Spawned))
	for _, st := range []api.State{api.Exited, api.Signal, api.OOM, api.Evicted, api.Killed, api.Lost, api.Refused} {
		put(descEnded, prometheus.CounterValue, float64(t.Ends[st]), string(st))
	}
	put(descQueued, prometheus.GaugeValue, float64(t.Queued))
	put(descRunning, prometheus.GaugeValue, float64(t.Running))
	put(descDenied, prometheus.CounterValue, float64(t.DeniedCalls))
	top, err := c.s.Schedd.Top()
	if err != nil {
		return
	}
	put(descLCCPU, prometheus.GaugeValue, float64(top.Reserved)/1000)
	put(descMemory, prometheus.GaugeValue, float64(top.MemLC), "LC")
	put(descMemory, prometheus.GaugeValue, float64(top.MemBE), "BE")
	for _, r := range top.Realms {
		put(descRealm, prometheus.CounterValue, float64(r.CPU)/1e9, r.Name)
		put(descSlots, prometheus.GaugeValue, float64(r.Slots), r.Name)
	}
}
