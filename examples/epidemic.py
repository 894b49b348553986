"""A simulator that knows nothing of JAX: an epidemic in a school, as a program.

    echo "1.8 0.45 2.0" | python examples/epidemic.py

It reads infection and recovery rates and who is ill at first, of 763 pupils, and prints how many
are ill at noon of 14 days, by Runge and Kutta's method.
"""

PUPILS, DAYS, STEPS = 763.0, 14, 10


def slope(healthy, ill, infection, recovery):
    caught = infection * healthy * ill / PUPILS
    return -caught, caught - recovery * ill


def days(infection, recovery, first):
    h, healthy, ill = 1 / STEPS, PUPILS - first, first
    for _ in range(DAYS):
        yield ill
        for _ in range(STEPS):
            a = slope(healthy, ill, infection, recovery)
            b = slope(healthy + h / 2 * a[0], ill + h / 2 * a[1], infection, recovery)
            c = slope(healthy + h / 2 * b[0], ill + h / 2 * b[1], infection, recovery)
            d = slope(healthy + h * c[0], ill + h * c[1], infection, recovery)
            healthy += h / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
            ill += h / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])


if __name__ == "__main__":
    print(*days(*map(float, input().split())))
