package orchestrator
import ("context";"log/slog";"github.com/bulkhead-os/bulkhead/internal/dockerapi")
func runConfigured(ctx context.Context, engine *dockerapi.Client, log *slog.Logger) {}
