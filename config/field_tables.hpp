// The tables of settings' fields, one for each section and each kind of declared item; fields.cpp
// puts them together. Each stands in the fields_*.cpp of its theme.
#pragma once

#include <cstdint>
#include <span>

#include "config/fields.hpp"

namespace kw::config::tables {

inline constexpr std::uint64_t second = 1000;
inline constexpr std::uint64_t day = 86'400 * second;

extern const std::span<const field> server;
extern const std::span<const field> websocket;
extern const std::span<const field> header;
extern const std::span<const field> log;
extern const std::span<const field> auth;
extern const std::span<const field> admin;
extern const std::span<const field> limit;
extern const std::span<const field> lease;
extern const std::span<const field> access_key;
extern const std::span<const field> upstream;
extern const std::span<const field> disconnect;
extern const std::span<const field> quota;
extern const std::span<const field> group;
extern const std::span<const field> alias;
extern const std::span<const field> pool;
extern const std::span<const field> session;
extern const std::span<const field> object;
extern const std::span<const field> usage;
extern const std::span<const field> price;
extern const std::span<const field> store;
extern const std::span<const field> notification;
extern const std::span<const field> channel;
extern const std::span<const field> tracing;

}  // namespace kw::config::tables
