// The standard and library headers that most of the product includes, for builds that precompile
// them.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/json.hpp>
#include <boost/system/result.hpp>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>
