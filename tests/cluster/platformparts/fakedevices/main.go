// fakedevices is a kubelet device plugin without hardware: it offers devices that exist by name only.
//
// Its arguments say how many of which resource: `fakedevices vpc.amazonaws.com/efa=8`. A container that is
// given devices finds their names in FAKE_DEVICES_VPC_AMAZONAWS_COM_EFA and, for EFA and GPUs, files where
// those of real ones are. Each is /dev/null by another name.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	kubeletAnswers = 10 * time.Second
	socketCheck    = time.Second
)

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

// files are where a container finds the devices of a resource; those of others have none.
var files = map[string]string{
	"vpc.amazonaws.com/efa": "/dev/infiniband/uverbs",
	"nvidia.com/gpu":        "/dev/nvidia",
}

// offer is one resource and the names of its devices.
type offer struct {
	api.UnimplementedDevicePluginServer
	resource string
	devices  []*api.Device
	done     <-chan struct{}
}

func parse(argument string, done <-chan struct{}) (*offer, error) {
	resource, text, found := strings.Cut(argument, "=")
	count, err := strconv.Atoi(text)
	if !found || err != nil || count < 0 {
		return nil, fmt.Errorf("%q is not RESOURCE=COUNT, such as vpc.amazonaws.com/efa=8", argument)
	}
	offered := &offer{resource: resource, done: done}
	for index := range count {
		device := &api.Device{ID: fmt.Sprintf("%s-%d", filepath.Base(resource), index), Health: api.Healthy}
		offered.devices = append(offered.devices, device)
	}
	return offered, nil
}

// socket is the path of the offer's socket; the prefix tells whose it is.
func (o *offer) socket() string {
	name := "fakedevices-" + notInNames.ReplaceAllString(o.resource, "-") + ".sock"
	return filepath.Join(api.DevicePluginPath, name)
}

func (o *offer) variable() string {
	return "FAKE_DEVICES_" + strings.ToUpper(notInNames.ReplaceAllString(o.resource, "_"))
}

func (o *offer) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (o *offer) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: o.devices}); err != nil {
		return err
	}
	select {
	case <-o.done:
	case <-stream.Context().Done():
	}
	return nil
}

func (o *offer) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		names := strings.Join(container.DevicesIds, ",")
		given := &api.ContainerAllocateResponse{Envs: map[string]string{o.variable(): names}}
		if file := files[o.resource]; file != "" {
			for _, name := range container.DevicesIds {
				number := name[strings.LastIndex(name, "-")+1:]
				given.Devices = append(given.Devices, &api.DeviceSpec{
					ContainerPath: file + number, HostPath: "/dev/null", Permissions: "rw",
				})
			}
		}
		response.ContainerResponses = append(response.ContainerResponses, given)
	}
	return response, nil
}

// serve listens on the offer's socket and tells the kubelet of it.
func (o *offer) serve() (*grpc.Server, error) {
	if err := os.Remove(o.socket()); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	listener, err := net.Listen("unix", o.socket())
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, o)
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Fatalf("%s: %v", o.resource, err)
		}
	}()
	return server, o.register()
}

func (o *offer) register() error {
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket, plain)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), kubeletAnswers)
	defer cancel()
	request := &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     filepath.Base(o.socket()),
		ResourceName: o.resource,
	}
	_, err = api.NewRegistrationClient(connection).Register(ctx, request, grpc.WaitForReady(true))
	return err
}

func run(arguments []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(arguments) == 0 {
		return fmt.Errorf("name at least one RESOURCE=COUNT, such as vpc.amazonaws.com/efa=8")
	}
	var sockets []string
	for _, argument := range arguments {
		offered, err := parse(argument, ctx.Done())
		if err != nil {
			return err
		}
		server, err := offered.serve()
		if server != nil {
			// Ends the listener too, which removes its socket.
			defer server.Stop()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", offered.resource, err)
		}
		log.Printf("%s: %d devices", offered.resource, len(offered.devices))
		sockets = append(sockets, offered.socket())
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(socketCheck):
		}
		for _, socket := range sockets {
			// A kubelet that starts empties the folder, and knows of no plugin until each tells it again.
			if _, err := os.Stat(socket); err != nil {
				return fmt.Errorf("the kubelet started anew: %w", err)
			}
		}
	}
}

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1:]); err != nil {
		log.Fatalf("fakedevices: %v", err)
	}
}
