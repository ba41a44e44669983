// A simulated NVML with two GPUs, for the agent's tests: layouts and names as in nvml.h, values made up.
// GPU 0 has links 0 (active) and 1 (inactive) and counts KiB of data; GPU 1 has link 0 and counts bytes only.
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };
enum { DATA_TX = 138, DATA_RX = 139, COUNT_TX = 202, COUNT_RX = 204, UNSIGNED_LONG_LONG = 3 };
long devices[2] = {0, 1};
int started = 0;

union Value {
  double d;
  unsigned int ui;
  unsigned long ul;
  unsigned long long ull;
};

struct FieldValue {
  unsigned int field;
  unsigned int scope;
  long long timestamp;
  long long latency_us;
  int value_type;
  int result;
  Value value;
};
}  // namespace

extern "C" {
int nvmlInit_v2() {
  const char* asked = std::getenv("SIMULATED_NVML");
  const std::string behaviour = asked ? asked : "";
  if (behaviour == "fails") return DRIVER_NOT_LOADED;
  if (behaviour == "crashes") std::abort();
  if (behaviour == "hangs") pause();
  ++started;
  return SUCCESS;
}

int nvmlShutdown() { return --started == 0 ? SUCCESS : INVALID_ARGUMENT; }

const char* nvmlErrorString(int result) {
  return result == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Not Supported";
}

int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = 2;
  return started == 1 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** device) {
  *device = &devices[index];
  return index < 2 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetNvLinkState(void* device, unsigned int link, unsigned int* active) {
  const long gpu = *static_cast<long*>(device);
  if (link >= (gpu == 0 ? 2u : 1u)) return INVALID_ARGUMENT;
  *active = link == 0;
  return SUCCESS;
}

int nvmlDeviceGetFieldValues(void* device, int count, FieldValue* values) {
  const long gpu = *static_cast<long*>(device);
  for (int i = 0; i < count; ++i) {
    const unsigned int field = values[i].field;
    const bool data = field == DATA_TX || field == DATA_RX;
    const bool known = data ? gpu == 0 : gpu == 1 && (field == COUNT_TX || field == COUNT_RX);
    values[i].result = known && values[i].scope == 0 ? SUCCESS : NOT_SUPPORTED;
    values[i].value_type = UNSIGNED_LONG_LONG;
    values[i].value.ull = field == DATA_TX ? 5 : field == DATA_RX ? 1ull << 40 : field == COUNT_TX ? 77 : 88;
  }
  return SUCCESS;
}
}
