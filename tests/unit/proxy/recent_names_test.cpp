// Names are told of once in a span of time, and of no more than so many.
#include "proxy/recent_names.hpp"

#include <catch2/catch.hpp>

using namespace kw;
using namespace std::chrono_literals;

TEST_CASE("a name counts once a second") {
    proxy::recent_names names;
    const mono_time now(1'000s);
    CHECK(names.insert("key_a", now));
    CHECK_FALSE(names.insert("key_a", now + 999ms));
    CHECK(names.insert("key_b", now + 999ms));
    CHECK(names.insert("key_a", now + 1s));

    for (std::size_t i = 0; i < 2 * names.most; ++i)
        static_cast<void>(names.insert("other_" + std::to_string(i), now + 1s));
    CHECK_FALSE(names.insert("one too many", now + 1s));
    CHECK(names.insert("one too many", now + 2s));
}
