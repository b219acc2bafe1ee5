package main

import (
	"context"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/server"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// startTracing makes spans go to the collector at addr, over OTLP/gRPC.
func startTracing(addr, service string) error {
	if addr == "" {
		return nil
	}
	exporter, err := otlptracegrpc.New(context.Background(), otlptracegrpc.WithEndpoint(addr), otlptracegrpc.WithInsecure())
	if err != nil {
		return err
	}
	otel.SetTracerProvider(sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(100*time.Millisecond)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
	))
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	return nil
}

// kitexTracing does what the suite github.com/kitex-contrib/obs-opentelemetry does, by the same places in Kitex: a
// Tracer for the span's life, a middleware that puts the context into transit metainfo under the propagator's own names
// (`traceparent`), or takes it from there. The suite itself is not to be had from the Go proxy.
type kitexTracing struct{ tracer trace.Tracer }

type spanKey struct{}

// spanHolder is for the server, whose span begins when the request has been read.
type spanHolder struct{ span trace.Span }

func newKitexTracing() kitexTracing { return kitexTracing{otel.Tracer("ripcord/interop")} }

func spanName(ri rpcinfo.RPCInfo) string {
	return ri.Invocation().ServiceName() + "/" + ri.Invocation().MethodName()
}

func endSpan(ctx context.Context, span trace.Span) {
	if err := rpcinfo.GetRPCInfo(ctx).Stats().Error(); err != nil {
		span.SetStatus(codes.Error, err.Error())
		span.RecordError(err)
	}
	span.End()
}

type kitexClientTracer struct{ kitexTracing }

func (t kitexClientTracer) Start(ctx context.Context) context.Context {
	ctx, _ = t.tracer.Start(ctx, spanName(rpcinfo.GetRPCInfo(ctx)), trace.WithSpanKind(trace.SpanKindClient))
	return ctx
}

func (kitexClientTracer) Finish(ctx context.Context) { endSpan(ctx, trace.SpanFromContext(ctx)) }

type kitexServerTracer struct{ kitexTracing }

func (kitexServerTracer) Start(ctx context.Context) context.Context {
	return context.WithValue(ctx, spanKey{}, &spanHolder{})
}

func (kitexServerTracer) Finish(ctx context.Context) {
	if holder, ok := ctx.Value(spanKey{}).(*spanHolder); ok && holder.span != nil {
		endSpan(ctx, holder.span)
	}
}

func (t kitexTracing) clientOptions() []client.Option {
	inject := func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, req, resp any) error {
			carrier := propagation.MapCarrier{}
			otel.GetTextMapPropagator().Inject(ctx, carrier)
			for k, v := range carrier {
				ctx = metainfo.WithValue(ctx, k, v)
			}
			return next(ctx, req, resp)
		}
	}
	return []client.Option{client.WithTracer(kitexClientTracer{t}), client.WithMiddleware(inject)}
}

func (t kitexTracing) serverOptions() []server.Option {
	extract := func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, req, resp any) error {
			carrier := propagation.MapCarrier{}
			for k, v := range metainfo.GetAllValues(ctx) {
				carrier[metainfo.CGIVariableToHTTPHeader(k)] = v
			}
			ctx = otel.GetTextMapPropagator().Extract(ctx, carrier)
			ctx, span := t.tracer.Start(ctx, spanName(rpcinfo.GetRPCInfo(ctx)), trace.WithSpanKind(trace.SpanKindServer))
			if holder, ok := ctx.Value(spanKey{}).(*spanHolder); ok {
				holder.span = span
			}
			return next(ctx, req, resp)
		}
	}
	return []server.Option{server.WithTracer(kitexServerTracer{t}), server.WithMiddleware(extract)}
}
