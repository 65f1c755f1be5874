// What libtorch's allocator holds of a GPU, through its interface for any device: CUDA's own library is not linked.
#include "shim.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>

using c10::CachingAllocator::StatType;

extern "C" {

int anneal_torch_gpu_memory(int device, int64_t *held, int64_t *peak, int64_t *peak_reserved) {
  ANNEAL_GUARD({
    auto *allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
    *held = *peak = *peak_reserved = 0;
    if (!allocator->initialized()) return 0;
    auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    auto all = static_cast<size_t>(StatType::AGGREGATE);
    *held = stats.allocated_bytes[all].current;
    *peak = stats.allocated_bytes[all].peak;
    *peak_reserved = stats.reserved_bytes[all].peak;
  })
}

int anneal_torch_gpu_reset_peak(int device) {
  ANNEAL_GUARD({
    auto *allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
    if (allocator->initialized()) allocator->resetPeakStats(static_cast<c10::DeviceIndex>(device));
  })
}

}  // extern "C"
