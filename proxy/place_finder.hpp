// Where objects are: what the requests of a worker ask in one turn of its loop goes to the board's
// thread together, as each way there and back costs both threads a wake-up.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/loop.hpp"
#include "net/task.hpp"
#include "proxy/question.hpp"
#include "store/objects.hpp"

namespace kw::proxy {

// One for a worker; its loop's thread only. The desk outlives it.
class place_finder {
  public:
    using answer = result<std::vector<store::object_place>>;

    place_finder(net::loop& on, store::object_desk& desk);

    // One place for each id, in order. The question leaves at the end of the turn.
    void ask(std::vector<std::string> ids, std::shared_ptr<question<answer>> asker);

  private:
    struct part {
        std::size_t ids = 0;
        std::shared_ptr<question<answer>> asker;
    };

    net::task<void> run();
    void send();

    net::loop& loop_;
    store::object_desk& desk_;
    std::vector<std::string> ids_;
    std::vector<part> parts_;
    net::waiter wait_;
    net::owned_root root_;
};

}  // namespace kw::proxy
