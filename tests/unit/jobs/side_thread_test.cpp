// The helper thread: order, bound, faults and end.
#include "jobs/side_thread.hpp"

#include <catch2/catch.hpp>
#include <future>
#include <stdexcept>
#include <vector>

using namespace kw::jobs;

TEST_CASE("work is done in order, and no more waits than may", "[jobs]") {
    std::promise<void> go;
    std::promise<void> begun;
    std::promise<void> done;
    std::vector<int> order;
    {
        side_thread t(3);
        REQUIRE(t.run([&] {
            begun.set_value();
            go.get_future().wait();
            throw std::runtime_error("it goes on after this");
        }));
        begun.get_future().wait();
        for (int i = 0; i < 3; ++i)
            REQUIRE(t.run([&order, &done, i] {
                order.push_back(i);
                if (i == 2) done.set_value();
            }));
        CHECK_FALSE(t.run([] {}));
        go.set_value();
        done.get_future().wait();
        CHECK(t.run([] {}));
    }
    CHECK(order == std::vector{0, 1, 2});
}
