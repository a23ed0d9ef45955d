import psutil
from faultkit import *
def test_up(jidoteki_host):
    host = jidoteki_host()
    big = host.appliance.root/'big'
    with big.open('wb') as f: f.truncate(512*1024*1024)
    p=psutil.Process(host.process.pid)
    for _ in range(2):
        c=p.cpu_times(); a=host.post('/update','-F',f'update=@{big}',query='dry-run=1'); d=p.cpu_times(); print('cpu',d.user+d.system-c.user-c.system,a.status)
