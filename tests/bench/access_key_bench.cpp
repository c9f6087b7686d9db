// Looking up an access key among 1,000 to 1,000,000: with the hash, without it, and in memory.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cstdio>
#include <string>
#include <vector>

#include "auth/authenticator.hpp"
#include "auth/key_text.hpp"
#include "core/ids.hpp"

using namespace kw;
using namespace kw::auth;

namespace {

crypto::digest random_hash(random_source& random) {
    crypto::digest hash;
    for (std::uint8_t& b : hash)
        b = static_cast<std::uint8_t>(random.next());
    return hash;
}

struct fixture {
    std::vector<crypto::digest> hashes;
    key_table table;
    double bytes_a_key = 0;
};

fixture make(std::int64_t n) {
    fixture f;
    random_source random(7);
    const auto before = mallinfo2().uordblks + mallinfo2().hblkhd;
    std::vector<access_key> keys;
    keys.reserve(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) {
        access_key& k = keys.emplace_back();
        k.id = make_id("ak_", wall_time{}, random);
        k.name = "key number " + std::to_string(i);
        k.masked = "sk-…wxyz";
        k.hash = random_hash(random);
    }
    f.table = key_table(std::move(keys));
    const auto after = mallinfo2().uordblks + mallinfo2().hblkhd;
    f.bytes_a_key = static_cast<double>(after - before) / static_cast<double>(n);
    f.table.for_each([&](const access_key& k) { f.hashes.push_back(k.hash); });
    for (std::size_t i = f.hashes.size(); i > 1; --i)
        std::swap(f.hashes[i - 1], f.hashes[random.below(i)]);
    return f;
}

void find(benchmark::State& state) {
    const fixture f = make(state.range(0));
    std::size_t i = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(f.table.find(f.hashes[i]));
        if (++i == f.hashes.size()) i = 0;
    }
    state.counters["bytes_a_key"] = f.bytes_a_key;
}
BENCHMARK(find)->RangeMultiplier(10)->Range(1'000, 1'000'000);

void identify(benchmark::State& state) {
    const secret pepper(std::string(32, 'p'));
    const secret text = make_key_text();
    access_key k;
    k.hash = hash_key_text(text, pepper);
    const key_table table({k});
    authenticator a(pepper);
    for (auto _ : state)
        benchmark::DoNotOptimize(a.identify(text.reveal(), wall_time{}, table).has_value());
}
BENCHMARK(identify);

void change_one_of_a_million(benchmark::State& state) {
    const fixture f = make(1'000'000);
    access_key k = *f.table.find(f.hashes[0]);
    for (auto _ : state)
        benchmark::DoNotOptimize(f.table.with(k, k.hash).size());
}
BENCHMARK(change_one_of_a_million);

}  // namespace
